//! From a TCP connection to a signed-in session: greeting, EHLO, STARTTLS, EHLO again, AUTH.

use model::endpoint::{Endpoint, Tls};

use super::auth::speakable;
use super::conversation::{malformed, read};
use super::reply::{Class, Reply, ReplyReader};
use super::{Capabilities, Session, Settings};
use crate::error::{Error, Kind, Phase};
use crate::sasl::{self, Proof};
use crate::transport::Connection;

impl Session {
    /// Connects to a submission endpoint, makes the connection private and signs in.
    ///
    /// Errors name the phase: up to `Capabilities` they are the server's, `SignIn` is the credentials' when the kind
    /// is `CredentialsRefused`.
    #[tracing::instrument(name = "smtp.open", skip_all, fields(server.address = %endpoint.host, server.port = endpoint.port), err(level = "debug"))]
    pub async fn open(
        endpoint: &Endpoint,
        settings: &Settings,
        login: &str,
        proof: impl Into<Proof<'_>>,
    ) -> Result<Self, Error> {
        let proof = proof.into();
        match proof {
            Proof::Password(password) => speakable(login, password)?,
            Proof::Token(token) => sasl::speakable(login, token)?,
        }
        let connection = Connection::open(endpoint, &settings.transport).await?;
        let mut session = Self::greeted(connection, settings).await?;
        session.hello().await?;
        if endpoint.tls == Tls::StartTls {
            session = session.into_private().await?;
            session.hello().await?;
        }
        session.sign_in(login, proof).await?;
        session.end();
        Ok(session)
    }

    /// The greeting (RFC 5321 section 3.1): 220, or the server's reason to stay away.
    async fn greeted(connection: Connection, settings: &Settings) -> Result<Self, Error> {
        let (mut connection, line) = connection.greeting().await?;
        let mut reader = ReplyReader::default();
        let reply = match reader.push(&line) {
            Ok(Some((reply, _))) => reply,
            Ok(None) => read(&mut connection, reader).await?.0,
            Err(why) => return Err(malformed(&connection, why, &line)),
        };
        let mut session = Self::new(connection, settings);
        session.busy = true;
        if reply.code() == 220 { Ok(session) } else { Err(session.refused(&reply)) }
    }

    /// EHLO. What was known before is forgotten (RFC 3207 section 4.2). There is no way back to HELO: without
    /// extensions there is no sign-in.
    async fn hello(&mut self) -> Result<(), Error> {
        self.open_wire()?.begin(Phase::Capabilities);
        self.hear_nothing().await?;
        self.say(format!("EHLO {}\r\n", self.settings.client_name).as_bytes()).await?;
        let (reply, lines) = self.reply_and_lines().await?;
        match (reply.class(), reply.code()) {
            (_, 250) => {
                self.capabilities = Capabilities::parse(&lines);
                Ok(())
            }
            (Class::Permanent, 500 | 502 | 504) => Err(self.failed(Kind::Unsupported("EHLO"), &reply)),
            _ => Err(self.refused(&reply)),
        }
    }

    /// STARTTLS (RFC 3207). A server that does not offer it gets nothing secret.
    async fn into_private(mut self) -> Result<Self, Error> {
        self.open_wire()?.begin(Phase::StartTls);
        if !self.capabilities.starttls {
            let error = self.open_wire()?.error(Kind::TlsNotOffered);
            return Err(self.lost(error));
        }
        let reply = self.command("STARTTLS").await?;
        self.check_go_ahead(&reply)?;
        let Some(connection) = self.connection.take() else {
            return Err(Error::new(Phase::StartTls, Kind::Closed));
        };
        self.connection = Some(connection.upgrade().await?);
        Ok(self)
    }

    fn check_go_ahead(&mut self, reply: &Reply) -> Result<(), Error> {
        match reply.class() {
            _ if reply.code() == 220 => Ok(()),
            Class::Permanent => Err(self.failed(Kind::TlsNotOffered, reply)),
            _ => Err(self.refused(reply)),
        }
    }
}

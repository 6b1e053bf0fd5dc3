//! From a connection to a signed-in session. Credentials are written only inside TLS, and never kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::endpoint::{Endpoint, Tls};
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

use super::answer::{Answer, Code, Refusal};
use super::{Capabilities, Limits, Session, talk};
use crate::error::{Error, Kind, Phase, printable};
use crate::sasl::{self, Mechanism, Proof};
use crate::transport::{Connection, Settings};

/// The longest command line with an initial response (RFC 5034 section 4), line end included.
const LONGEST_COMMAND: usize = 255;

impl Session {
    /// Connects, makes the connection private, and signs in: with a password by SASL PLAIN where announced, else by
    /// USER and PASS; with an access token by OAUTHBEARER where announced, else by XOAUTH2.
    ///
    /// The endpoint's STARTTLS is not a wish: a server that does not offer STLS is refused
    /// ([`Kind::TlsNotOffered`]).
    #[tracing::instrument(name = "pop3.sign_in", skip_all, fields(server.address = endpoint.host, server.port = endpoint.port))]
    pub async fn sign_in(
        endpoint: &Endpoint,
        settings: &Settings,
        limits: Limits,
        login: &str,
        proof: impl Into<Proof<'_>>,
    ) -> Result<Self, Error> {
        let proof = proof.into();
        match proof {
            Proof::Password(password) => speakable(login, password)?,
            Proof::Token(token) => sasl::speakable(login, token)?,
        }
        let (mut connection, greeting) = Connection::open(endpoint, settings).await?.greeting().await?;
        match Answer::parse(&greeting) {
            Some(Answer::Good(_)) => {}
            Some(Answer::Bad(refusal)) => return Err(refusal.error(&connection, Kind::TemporarilyRefused)),
            None => {
                let kind = Kind::Violation("its greeting is not one of POP3");
                return Err(connection.error(kind).with_said(&greeting));
            }
        }
        let mut capabilities = ask(&mut connection).await?;
        if endpoint.tls == Tls::StartTls {
            connection = start_tls(connection, &capabilities).await?;
            // What was announced in the clear may have been announced by anyone.
            capabilities = ask(&mut connection).await?;
        }
        capabilities.pipelining &= limits.pipelining;
        authenticate(&mut connection, &mut capabilities, login, proof).await?;
        capabilities.pipelining &= limits.pipelining;
        Ok(Self {
            connection,
            capabilities,
            limits,
            outstanding: 0,
            body: None,
            time_left: limits.message_deadline,
            listed_all: false,
            lost: None,
        })
    }
}

async fn ask(connection: &mut Connection) -> Result<Capabilities, Error> {
    connection.begin(Phase::Capabilities);
    connection.write(b"CAPA\r\n").await?;
    talk::capabilities(connection).await
}

async fn start_tls(mut connection: Connection, capabilities: &Capabilities) -> Result<Connection, Error> {
    connection.begin(Phase::StartTls);
    if !capabilities.start_tls {
        return Err(connection.error(Kind::TlsNotOffered));
    }
    match talk::command(&mut connection, "STLS").await? {
        Answer::Good(_) => connection.upgrade().await,
        Answer::Bad(refusal) => Err(refusal.error(&connection, Kind::TlsNotOffered)),
    }
}

/// Signs in and asks CAPA again, in one round trip where the server announced pipelining. Capabilities may change with
/// sign-in (RFC 2449 section 5): LOGIN-DELAY and EXPIRE become this user's.
async fn authenticate(
    connection: &mut Connection,
    capabilities: &mut Capabilities,
    login: &str,
    proof: Proof<'_>,
) -> Result<(), Error> {
    connection.begin(Phase::SignIn);
    if !connection.is_private() {
        return Err(connection.error(Kind::TlsNotOffered));
    }
    let asked = match proof {
        Proof::Password(password) => with_password(connection, capabilities, login, password).await?,
        Proof::Token(token) => with_token(connection, capabilities, login, token).await?,
    };
    if !capabilities.announced {
        return Ok(());
    }
    connection.begin(Phase::Capabilities);
    if !asked {
        connection.write(b"CAPA\r\n").await?;
    }
    let signed_in = talk::capabilities(connection).await.map_err(|error| {
        let error = error.without_said();
        if asked { error.with_sent_ahead() } else { error }
    })?;
    if signed_in.announced {
        *capabilities = signed_in;
    }
    Ok(())
}

/// Says whether CAPA was asked already.
async fn with_password(
    connection: &mut Connection,
    capabilities: &Capabilities,
    login: &str,
    password: &Secret,
) -> Result<bool, Error> {
    let plain = capabilities.offers("PLAIN");
    if !plain && capabilities.announced && !capabilities.user && !capabilities.sasl.is_empty() {
        return Err(connection.error(Kind::Unsupported("SASL PLAIN or USER and PASS")));
    }
    let pipelining = capabilities.pipelining;
    if capabilities.utf8 {
        // Refused or not, mail can be read; with it, it comes as it was written (RFC 6856 section 2).
        talk::command(connection, "UTF8").await?;
    }
    let response =
        Zeroizing::new(STANDARD.encode(Zeroizing::new(format!("\0{login}\0{}", password.expose_secret()))));
    let short = "AUTH PLAIN ".len() + response.len() + 2 <= LONGEST_COMMAND;
    let answer = if plain && short && pipelining {
        connection.write(Zeroizing::new(format!("AUTH PLAIN {}\r\nCAPA\r\n", *response)).as_bytes()).await?;
        talk::answer(connection).await
    } else if plain {
        by_plain(connection, &response, short).await
    } else {
        by_password(connection, login, password, pipelining).await
    };
    let asked = pipelining && (short || !plain);
    match answer {
        Ok(Answer::Good(_)) => Ok(asked),
        Ok(Answer::Bad(refusal)) => Err(refused(connection, capabilities, &refusal, &response, password)),
        // A violation keeps what the server said, and an odd server may say back what it was given.
        Err(error) => Err(error.without_said()),
    }
}

/// The same with an access token, whose length mostly wants a line of its own.
async fn with_token(
    connection: &mut Connection,
    capabilities: &Capabilities,
    login: &str,
    token: &Secret,
) -> Result<bool, Error> {
    let mechanism = match Mechanism::offered(|name| capabilities.offers(name)) {
        Some(mechanism) => mechanism,
        // Servers without CAPA say nothing of what they know.
        None if !capabilities.announced => Mechanism::Xoauth2,
        None => return Err(connection.error(Kind::Unsupported(Mechanism::WANTED))),
    };
    let response = mechanism.response(login, token, connection.endpoint());
    let exchanged = exchange(connection, mechanism, &response).await;
    let (answer, challenge) = exchanged.map_err(Error::without_said)?;
    let Answer::Bad(refusal) = answer else { return Ok(false) };
    let mut error = match &challenge {
        // The server has looked at the token and says what is wrong with it.
        Some(_) => refusal.error(connection, Kind::CredentialsRefused),
        None => refused(connection, capabilities, &refusal, &response, token),
    };
    if let Some(status) = challenge
        && !echoes(status.as_bytes(), token.expose_secret())
        && !echoes(&refusal.text, token.expose_secret())
        && !echoes(&refusal.text, &response)
    {
        error = error.with_said(format!("{} ({status})", printable(&refusal.text)));
    }
    Err(error)
}

/// The conversation of a token mechanism: the response with the command where it fits, else when asked for; and to a
/// challenge that explains a refusal the word that ends it. Gives what the challenge said, where one came.
async fn exchange(
    connection: &mut Connection,
    mechanism: Mechanism,
    response: &str,
) -> Result<(Answer, Option<String>), Error> {
    let name = mechanism.name();
    let short = "AUTH ".len() + name.len() + 1 + response.len() + 2 <= LONGEST_COMMAND;
    let command = if short { format!("AUTH {name} {response}\r\n") } else { format!("AUTH {name}\r\n") };
    connection.write(Zeroizing::new(command).as_bytes()).await?;
    let (mut given, mut challenge) = (short, None);
    // The response, a challenge, and the end: more rounds no mechanism has.
    for _ in 0..4 {
        let line = connection.read_line().await?;
        if let Some(answer) = Answer::parse(&line) {
            if matches!(answer, Answer::Good(_)) && !given {
                let early = "it takes a sign-in for done before it was given the token";
                return Err(connection.error(Kind::Violation(early)));
            }
            return Ok((answer, challenge));
        }
        let Some(text) = line.strip_prefix(b"+") else {
            return Err(connection.error(Kind::Violation("it does not go on with AUTH")));
        };
        // What follows an explanation is only its end; and a server may ask again for what came with the command.
        if !given || (short && text.trim_ascii().is_empty() && challenge.is_none()) {
            connection.write(Zeroizing::new(format!("{response}\r\n")).as_bytes()).await?;
            given = true;
        } else {
            challenge = Some(sasl::challenge(text).unwrap_or_else(|| "refused".to_owned()));
            connection.write(format!("{}\r\n", mechanism.surrender()).as_bytes()).await?;
        }
    }
    Err(connection.error(Kind::Violation("its AUTH has no end")))
}

/// SASL PLAIN with the response on the command's line if it fits there, else on a line of its own; and again on its own
/// for servers that ask for it although they were given it.
async fn by_plain(connection: &mut Connection, response: &str, short: bool) -> Result<Answer, Error> {
    let command = if short { format!("AUTH PLAIN {response}\r\n") } else { "AUTH PLAIN\r\n".to_owned() };
    connection.write(Zeroizing::new(command).as_bytes()).await?;
    let line = connection.read_line().await?;
    if let Some(answer) = Answer::parse(&line) {
        return match answer {
            Answer::Good(_) if !short => Err(connection
                .error(Kind::Violation("it takes a sign-in for done before it was given the password"))),
            answer => Ok(answer),
        };
    }
    if line.first() != Some(&b'+') {
        return Err(connection.error(Kind::Violation("it does not go on with AUTH PLAIN")));
    }
    connection.write(Zeroizing::new(format!("{response}\r\n")).as_bytes()).await?;
    talk::answer(connection).await
}

async fn by_password(
    connection: &mut Connection,
    login: &str,
    password: &Secret,
    pipelining: bool,
) -> Result<Answer, Error> {
    let pass = Zeroizing::new(format!("PASS {}\r\n", password.expose_secret()));
    if pipelining {
        let commands = Zeroizing::new(format!("USER {login}\r\n{}CAPA\r\n", *pass));
        connection.write(commands.as_bytes()).await?;
        return match talk::answer(connection).await? {
            Answer::Good(_) => talk::answer(connection).await.map_err(Error::with_sent_ahead),
            refused @ Answer::Bad(_) => Ok(refused),
        };
    }
    match talk::command(connection, &format!("USER {login}")).await? {
        Answer::Good(_) => {
            connection.write(pass.as_bytes()).await?;
            talk::answer(connection).await
        }
        refused @ Answer::Bad(_) => Ok(refused),
    }
}

/// Whose failure a refused sign-in is: by code, else by what the absence of a code means, else by the words.
fn refused(
    connection: &Connection,
    capabilities: &Capabilities,
    refusal: &Refusal,
    response: &str,
    secret: &Secret,
) -> Error {
    let otherwise = if capabilities.auth_response_code {
        // A server with AUTH-RESP-CODE marks every refusal that credentials caused (RFC 3206 section 6).
        by_words(&refusal.text).unwrap_or(Kind::TemporarilyRefused)
    } else {
        by_words(&refusal.text).unwrap_or(Kind::CredentialsRefused)
    };
    let mut error = refusal.error(connection, otherwise);
    if refusal.code == Some(Code::LoginDelay)
        && let Some(pause) = capabilities.login_delay
    {
        error = error.with_retry_after(pause);
    }
    if echoes(&refusal.text, secret.expose_secret()) || echoes(&refusal.text, response) {
        error = error.without_said();
    }
    error
}

/// Whether what the server said has the secret in it, as the answer of a server that quotes bad commands has.
fn echoes(text: &[u8], secret: &str) -> bool {
    !secret.is_empty() && text.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// What servers without response codes say when it is not the credentials. Only plain cases count: taking a wrong
/// password for a passing trouble is found out after ten tries, the reverse ends in a disabled mailbox.
fn by_words(text: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["maildrop", "mailbox", "mail drop"]) && says(&["lock", "in use", "busy", "already open"]) {
        return Some(Kind::Locked);
    }
    says(&["try again", "try later", "temporar", "too many"]).then_some(Kind::TemporarilyRefused)
}

/// A line break in a credential would be a second command; NUL separates the parts of SASL PLAIN.
fn speakable(login: &str, password: &Secret) -> Result<(), Error> {
    let breaks = |text: &str| text.contains(['\r', '\n', '\0']);
    let error = |what| Err(Error::new(Phase::SignIn, Kind::Unspeakable(what)));
    if login.is_empty() || breaks(login) {
        return error("the user name is empty or has a line break or NUL in it");
    }
    if breaks(password.expose_secret()) {
        return error("the password has a line break or NUL in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_servers_without_codes_are_read_with_care() {
        for (text, kind) in [
            ("maildrop already locked", Some(Kind::Locked)),
            ("Your mailbox is in use by another session", Some(Kind::Locked)),
            ("Temporary authentication failure", Some(Kind::TemporarilyRefused)),
            ("Too many connections", Some(Kind::TemporarilyRefused)),
            ("account locked", None),
            ("invalid password", None),
            ("", None),
        ] {
            assert_eq!(by_words(text.as_bytes()), kind, "{text}");
        }
    }

    #[test]
    fn credentials_that_would_be_a_second_command_are_not_said() {
        let secret = |text: &str| Secret::from(text.to_owned());
        assert!(speakable("anna", &secret("päss word")).is_ok());
        for (login, password) in
            [("", "x"), ("a\r\nDELE 1", "x"), ("a", "x\r\nDELE 1"), ("a\0b", "x"), ("a", "x\0y")]
        {
            let error = speakable(login, &secret(password)).unwrap_err();
            assert!(matches!(error.kind(), Kind::Unspeakable(_)));
        }
    }
}

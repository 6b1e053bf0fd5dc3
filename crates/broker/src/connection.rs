//! The connection to `RabbitMQ`: opened when it is first needed and again when it was lost. It never shows its
//! credentials and does not hurry: whoever asks for it waits between tries.

use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicPublishOptions, BasicQosOptions};
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Connection, ConnectionProperties, DefaultConnectionBuilder, ErrorKind, Event};
use model::secret::ExposeSecret as _;

use crate::{Config, Error};

/// How long a connection may take from the first packet to its opening.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing is bound to this name: what is published there is dropped by the broker.
const NOWHERE: &str = "lockstep.probe";

/// A connection that is there again after it was lost.
pub(crate) struct Link {
    uri: AMQPUri,
    authorities: Option<String>,
    name: String,
    opening: tokio::sync::Mutex<()>,
    live: RwLock<Option<Arc<Connection>>>,
}

impl Link {
    /// `name` is shown in `RabbitMQ`'s list of connections: the role, and which process it is.
    pub(crate) fn new(config: &Config, name: &str) -> Result<Self, Error> {
        let mut uri: AMQPUri =
            config.url.expose_secret().parse().map_err(|problem| Error::Address { problem })?;
        uri.query.heartbeat = Some(config.heartbeat_seconds.get());
        let authorities = if config.ca_file.is_empty() {
            None
        } else {
            Some(std::fs::read_to_string(&config.ca_file).map_err(|error| Error::Authorities {
                file: config.ca_file.clone(),
                cause: error.to_string(),
            })?)
        };
        Ok(Self {
            uri,
            authorities,
            name: name.to_owned(),
            opening: tokio::sync::Mutex::default(),
            live: RwLock::default(),
        })
    }

    /// The connection that stands, or a new one. One try; waiting between tries is the caller's.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.standing() {
            return Ok(connection);
        }
        let connection = Arc::new(self.open().await?);
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// The connection, if it stands.
    pub(crate) fn standing(&self) -> Option<Arc<Connection>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|connection| connection.status().connected()).cloned()
    }

    /// Forgets a connection that no longer answers, unless a new one took its place already.
    pub(crate) fn discard(&self, silent: &Weak<Connection>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.take_if(|connection| Arc::downgrade(connection).ptr_eq(silent));
    }

    /// Whether the broker said that it accepts no messages for want of memory or disk.
    pub(crate) fn is_blocked(&self) -> bool {
        self.standing().is_some_and(|connection| connection.status().blocked())
    }

    /// `host:port`, which may be shown.
    fn place(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    async fn open(&self) -> Result<Connection, Error> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        // lapin sets TCP_NODELAY, so small frames do not wait for each other.
        let opening = async {
            let tls = OwnedTLSConfig { identity: None, cert_chain: self.authorities.clone() };
            DefaultConnectionBuilder::new()?
                .with_uri(self.uri.clone())
                .with_properties(properties)
                .with_tls_config(tls)
                .connect()
                .await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(|error| self.refusal(&error)),
            Err(_) => Err(Error::Unreachable {
                place: self.place(),
                cause: format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs()),
            }),
        }
    }

    fn refusal(&self, error: &lapin::Error) -> Error {
        let place = self.place();
        let protocol = match error.kind() {
            ErrorKind::ProtocolError(protocol) => protocol,
            // A handshake that fails, unlike a network, ends with data that cannot be accepted.
            ErrorKind::IOError(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
                return Error::Tls { place, cause: cause.to_string() };
            }
            ErrorKind::IOError(cause) => return Error::Unreachable { place, cause: cause.to_string() },
            _ => return Error::Unreachable { place, cause: error.to_string() },
        };
        let answer = protocol.get_message().to_string();
        match protocol.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Error::Denied { place, answer },
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if answer.contains("refused for user") => {
                Error::Denied { place, answer }
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                Error::VirtualHost { place, vhost: self.uri.vhost.clone(), answer }
            }
            _ => Error::Unreachable { place, cause: answer },
        }
    }
}

/// Asks whether the broker blocks publishers, and why. `RabbitMQ` tells a connection only after that has published
/// something, so something is published that goes nowhere; then either the notice comes or the next answer.
pub(crate) async fn blocked(connection: &Connection) -> Result<Option<String>, Error> {
    let mut events = connection.events_listener();
    if connection.status().blocked() {
        return Ok(Some("an alarm".to_owned()));
    }
    let channel = connection.create_channel().await?;
    channel
        .basic_publish(
            "".into(),
            NOWHERE.into(),
            BasicPublishOptions::default(),
            b"",
            BasicProperties::default(),
        )
        .await?;
    let answer = channel.basic_qos(1, BasicQosOptions::default());
    let notice = async {
        while let Some(event) = events.next().await {
            if let Event::ConnectionBlocked(reason) = event {
                return reason;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        reason = notice => Ok(Some(reason)),
        answered = answer => answered.map(|()| None).map_err(Error::from),
    }
}

/// Gives an exchange with the broker a time to end in.
pub(crate) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Lost { cause: format!("no answer within {} seconds", limit.as_secs()) }),
    }
}

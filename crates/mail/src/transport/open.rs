//! Opening a connection and making it private. The host in the endpoint is what the certificate must name.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use model::endpoint::{Endpoint, Tls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::wire::{Stream, Wire};
use super::{Connection, Ends, Patience, Settings, address, place, trust};
use crate::error::{Distrust, Error, Kind, Phase};

impl Connection {
    /// Resolves the endpoint's host, connects to an address that the policy permits, and starts TLS at once if the
    /// endpoint wants it from the first byte. A plain connection comes back from an endpoint with STARTTLS: nothing
    /// secret may be written before [`Connection::upgrade`].
    pub async fn open(endpoint: &Endpoint, settings: &Settings) -> Result<Self, Error> {
        if settings.ends.as_ref().is_some_and(Ends::is_silent) {
            return Err(Error::new(Phase::Connect, Kind::Closed).at(place(endpoint)));
        }
        let deadline = Instant::now() + settings.connect_timeout;
        let addresses = address::permitted(endpoint, &settings.network, deadline).await?;
        let wire = connect(endpoint, &addresses, settings, deadline).await?;
        let mut connection = Self {
            stream: Stream::Plain(wire),
            buffer: BytesMut::new(),
            patience: Patience { until: deadline, idle: None },
            phase: Phase::Connect,
            endpoint: endpoint.clone(),
            settings: settings.clone(),
        };
        match endpoint.tls {
            Tls::Implicit => {
                connection.begin(Phase::Tls);
                connection.secure().await
            }
            Tls::StartTls => {
                connection.begin(Phase::Greeting);
                Ok(connection)
            }
        }
    }

    /// Starts TLS after the server's go-ahead. Bytes that came with the go-ahead were sent in the clear, by anyone: a
    /// connection that has any is given up (RFC 3207 section 6).
    pub async fn upgrade(mut self) -> Result<Self, Error> {
        if !self.buffer.is_empty() {
            self.phase = Phase::StartTls;
            return Err(self.error(Kind::Violation("it sent more after its go-ahead for TLS")));
        }
        self.begin(Phase::Tls);
        self.secure().await
    }

    pub(super) async fn secure(self) -> Result<Self, Error> {
        let unusable = self.error(Kind::CertificateNotTrusted(Distrust::WrongHost));
        let Stream::Plain(mut wire) = self.stream else {
            return Err(Error::new(self.phase, Kind::Violation("TLS inside TLS")));
        };
        let name =
            ServerName::try_from(address::bare(&self.endpoint.host).to_owned()).map_err(|_| unusable)?;
        wire.forget_opening();
        let handshake = TlsConnector::from(self.settings.tls.0.clone()).connect(name, wire).into_fallible();
        let failed = |kind| Error::new(self.phase, kind).at(place(&self.endpoint));
        match timeout_at(self.patience.deadline(), handshake).await {
            Ok(Ok(stream)) => Ok(Self { stream: Stream::Tls(Box::new(stream)), ..self }),
            Ok(Err((cause, wire))) => {
                let kind = trust::judge(&cause).unwrap_or_else(|| lost(&cause));
                let plain = kind == Kind::TlsOnPlain;
                Err(if plain { failed(kind).with_said(first_line(wire.opening())) } else { failed(kind) })
            }
            Err(_) => Err(failed(Kind::TimedOut)),
        }
    }
}

/// Tries each address in turn, each with its share of the time that is left.
async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    settings: &Settings,
    deadline: Instant,
) -> Result<Wire, Error> {
    let mut last = Kind::Unreachable;
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let share = now + deadline.saturating_duration_since(now) / left;
        last = match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => match Wire::new(socket, settings.ends.clone()) {
                Ok(wire) => return Ok(wire),
                Err(cause) => lost(&cause),
            },
            Ok(Err(cause)) => lost(&cause),
            Err(_) => Kind::TimedOut,
        };
    }
    Err(Error::new(Phase::Connect, last).at(place(endpoint)))
}

fn lost(cause: &io::Error) -> Kind {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => Kind::Refused,
        io::ErrorKind::TimedOut => Kind::TimedOut,
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Kind::Closed,
        _ => Kind::Unreachable,
    }
}

fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

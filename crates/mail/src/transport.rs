//! Connections to mail servers: resolved, checked against the network policy, private by TLS, and bounded in time.
//!
//! POP3 and SMTP both stand on this. It must never re-resolve after the policy was asked, never skip a certificate's
//! verification, and never wait without a deadline.

mod address;
mod ends;
mod greeting;
mod line;
mod open;
mod trust;
mod wire;

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use model::endpoint::Endpoint;
use model::network::NetworkPolicy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

pub use ends::{Ends, Unheard};
pub use line::LONGEST_LINE;
pub use trust::{TlsSettings, Trust};

use crate::error::{Error, Kind, Phase};
pub(crate) use wire::Stream;

/// How a connection is opened and how long each part of a conversation may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which addresses may be connected to.
    pub network: NetworkPolicy,
    /// Time for name look-up and TCP together, over all addresses of the host.
    pub connect_timeout: Duration,
    /// Time for each phase after that, however many reads and writes it takes.
    pub phase_deadline: Duration,
    /// Whom to trust; from [`Trust::for_profile`].
    pub tls: TlsSettings,
    /// Where connections that are dropped are left, for somebody who has to know that they are closed; none, and a
    /// dropped connection is reset.
    pub ends: Option<Ends>,
}

/// An open connection, read by lines or by chunks.
///
/// Dropping it resets it at once (a TCP RST), so that a cancelled cycle leaves nothing behind on the server, or leaves it
/// to the settings' [`Ends`]; only [`Connection::close`] ends it in an orderly way.
pub struct Connection {
    stream: Stream,
    buffer: BytesMut,
    patience: Patience,
    phase: Phase,
    endpoint: Endpoint,
    settings: Settings,
}

/// How long reads and writes may take from now on.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Nothing waits past this.
    until: Instant,
    /// Each single wait may last this long.
    idle: Option<Duration>,
}

impl Patience {
    fn deadline(self) -> Instant {
        self.idle.map_or(self.until, |idle| self.until.min(Instant::now() + idle))
    }
}

/// How much is read from the socket at a time.
const READ_SIZE: usize = 64 * 1024;

impl Connection {
    /// Starts a phase: from now on everything together must be done within the settings' phase deadline, and errors
    /// name this phase.
    pub fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.patience = Patience { until: Instant::now() + self.settings.phase_deadline, idle: None };
    }

    /// Starts a phase that moves a body: bytes must keep coming within `idle`, and all be done by `until`.
    pub fn begin_stream(&mut self, phase: Phase, idle: Duration, until: Instant) {
        self.phase = phase;
        self.patience = Patience { until, idle: Some(idle) };
    }

    /// The time that one phase may take, for callers that begin streams.
    pub fn phase_deadline(&self) -> Duration {
        self.settings.phase_deadline
    }

    /// Names the phase without granting it more time.
    pub fn rename_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// The phase that the conversation is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// An error of this connection, in the phase it is in.
    pub fn error(&self, kind: Kind) -> Error {
        Error::new(self.phase, kind).at(place(&self.endpoint))
    }

    /// The endpoint this leads to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether everything on this connection is inside TLS. Nothing secret may be written before it is.
    pub fn is_private(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Bytes received and sent so far on the wire, TLS included.
    pub fn traffic(&self) -> Traffic {
        self.stream.wire().traffic()
    }

    /// Writes everything and flushes it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if Instant::now() >= self.patience.until {
            return Err(self.error(Kind::TimedOut));
        }
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(self.patience.deadline(), writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(self.broken(&cause)),
            Err(_) => Err(self.error(Kind::TimedOut)),
        }
    }

    /// What was received and not yet taken.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Waits until at least one more byte is in the buffer. The end of the stream is [`Kind::Closed`].
    pub(crate) async fn fill(&mut self) -> Result<(), Error> {
        // A server that floods never lets the timer's turn come: the clock is looked at, not only waited for.
        if Instant::now() >= self.patience.until {
            return Err(self.error(Kind::TimedOut));
        }
        self.buffer.reserve(READ_SIZE);
        match timeout_at(self.patience.deadline(), self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(self.error(Kind::Closed)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(self.broken(&cause)),
            Err(_) => Err(self.error(Kind::TimedOut)),
        }
    }

    fn broken(&self, cause: &std::io::Error) -> Error {
        tracing::debug!(phase = self.phase.as_str(), error.kind = ?cause.kind(), "connection to a mail server broke");
        self.error(Kind::Closed)
    }

    /// The bare stream, for a protocol that somebody else speaks; the deadlines are that one's from here on.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream.wire().linger();
        self.stream
    }

    /// Ends the connection in an orderly way, after the server said that it closes too: TLS close notification and FIN,
    /// without waiting for the server's.
    pub async fn close(mut self) {
        self.stream.wire().linger();
        self.stream.wire_mut().said_goodbye();
        let _ = timeout_at(self.patience.deadline(), self.stream.shutdown()).await;
    }

    /// Ends the connection as dropping it does.
    pub fn abort(self) {
        drop(self);
    }
}

/// Bytes on the wire, TLS included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// A server as errors name it.
fn place(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .field("phase", &self.phase)
            .field("private", &self.is_private())
            .finish_non_exhaustive()
    }
}

//! The server's first line, and telling a TLS port from a slow server when it does not come.

use std::time::Duration;

use bytes::Bytes;

use super::Connection;
use crate::error::{Error, Kind, Phase};

/// The most time kept back, of the greeting's, to find out why a server is silent.
const PROBE: Duration = Duration::from_secs(5);

impl Connection {
    /// Reads the greeting line. On a plain connection a server that stays silent is asked, in the last part of the
    /// phase's time, whether it wants TLS: if it answers in TLS the error is [`Kind::PlainOnTls`].
    pub async fn greeting(mut self) -> Result<(Self, Bytes), Error> {
        self.begin(Phase::Greeting);
        if self.is_private() {
            let line = self.read_line().await?;
            return Ok((self, line));
        }
        let end = self.patience.until;
        self.patience.until = end - PROBE.min(self.settings.phase_deadline / 4);
        match self.read_line().await {
            Ok(line) => Ok((self, line)),
            Err(_) if starts_like_tls(self.stream.wire().opening()) => Err(self.error(Kind::PlainOnTls)),
            Err(error) if error.kind() == &Kind::TimedOut && self.stream.wire().opening().is_empty() => {
                self.patience.until = end;
                let wants_tls = self.error(Kind::PlainOnTls);
                Err(if self.answers_in_tls().await { wants_tls } else { error })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the server answers a TLS handshake, be it with a certificate that is not trusted.
    async fn answers_in_tls(self) -> bool {
        match self.secure().await {
            Ok(_) => true,
            Err(error) => matches!(error.kind(), Kind::CertificateNotTrusted(_) | Kind::TlsFailed),
        }
    }
}

/// A TLS record: an alert or a handshake of version 3.x (RFC 8446 section 5.1).
fn starts_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

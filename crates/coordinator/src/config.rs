//! What a coordinator is told: where to listen, where its ledger is, and how long things last.

use std::net::SocketAddr;
use std::time::Duration;

use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;

/// The `[coordinator]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address workers connect to.
    pub listen: SocketAddr,
    /// The token that workers were given too.
    pub token: Secret,
    /// The certificate chain for TLS, a PEM file; empty, and the listener speaks plain text.
    pub tls_certificate_file: String,
    /// The private key of that certificate, a PEM file; empty without TLS.
    pub tls_key_file: String,
    /// The ledger: `redis://user:password@host:port/database`.
    pub redis_url: Secret,
    /// The name all keys of this installation share; they live on one shard.
    pub key_prefix: String,
    /// How long Redis may take for one answer before it counts as away.
    pub redis_timeout_millis: u64,
    /// How long a lease lasts unless renewed.
    pub lease_millis: u64,
    /// How often workers renew.
    pub renew_millis: u64,
    /// When a request that got no slot in time is told to ask again.
    pub retry_seconds: u64,
    /// How often the coordinator that decides shows that it is there, and the others look.
    pub beat_millis: u64,
    /// How long nothing is granted where Redis has no ledger, or lost some of it that nobody remembers: the longest lease
    /// and the longest time in doubt.
    pub quiet_after_loss_millis: u64,
    /// How many messages of workers are decided on in one go at most.
    pub batch: usize,
}

/// A `[coordinator]` section that cannot work, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The token cannot be used.
    #[error(
        "`coordinator.token` is empty or holds characters outside printable ASCII; make one with `openssl rand -hex 32` and give it to workers as `throttle.token`"
    )]
    BadToken,
    /// The Redis URL is none.
    #[error("`coordinator.redis_url` is no Redis URL; write it like redis://127.0.0.1:6379/0")]
    BadRedisUrl,
    /// Redis would not find all keys on one shard.
    #[error("`coordinator.key_prefix` is empty or holds braces or spaces; use a plain name such as lockstep")]
    BadPrefix,
    /// Leases would be lost between two renewals.
    #[error(
        "`coordinator.renew_millis` ({renew}) must be at most half of `coordinator.lease_millis` ({lease}), and both more than 0"
    )]
    RenewTooRare {
        /// The renewal interval.
        renew: u64,
        /// The lease.
        lease: u64,
    },
    /// A number that must be positive.
    #[error("`coordinator.{key}` must be more than 0")]
    Zero {
        /// The key.
        key: &'static str,
    },
    /// Half of a TLS identity.
    #[error(
        "`coordinator.tls_certificate_file` and `coordinator.tls_key_file` go together; set both or none"
    )]
    HalfTls,
    /// A file of the TLS identity cannot be used.
    #[error(
        "`coordinator.{key}` cannot be read ({source}); it must be a PEM file that this process may read"
    )]
    BadTlsFile {
        /// The key.
        key: &'static str,
        /// What reading it said.
        source: std::io::Error,
    },
}

impl Config {
    /// Refuses what cannot work, before anything listens.
    pub fn check(&self) -> Result<(), ConfigError> {
        let token = self.token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::BadToken);
        }
        redis::Client::open(self.redis_url.expose_secret()).map_err(|_| ConfigError::BadRedisUrl)?;
        if self.key_prefix.is_empty()
            || !self.key_prefix.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'{' && byte != b'}')
        {
            return Err(ConfigError::BadPrefix);
        }
        if self.renew_millis == 0 || self.renew_millis.saturating_mul(2) > self.lease_millis {
            return Err(ConfigError::RenewTooRare { renew: self.renew_millis, lease: self.lease_millis });
        }
        for (key, value) in [
            ("redis_timeout_millis", self.redis_timeout_millis),
            ("beat_millis", self.beat_millis),
            ("batch", self.batch as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
        }
        if self.tls_certificate_file.is_empty() != self.tls_key_file.is_empty() {
            return Err(ConfigError::HalfTls);
        }
        Ok(())
    }

    pub(crate) fn redis_timeout(&self) -> Duration {
        Duration::from_millis(self.redis_timeout_millis)
    }

    pub(crate) fn beat(&self) -> Duration {
        Duration::from_millis(self.beat_millis)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_millis)
    }
}

//! How a worker finds and trusts its coordinators.

use std::time::Duration;

use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::share::Shares;

/// The `[throttle]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where coordinators listen, `http://host:port` or `https://host:port`; the next is tried when one is away.
    pub urls: Vec<String>,
    /// The token that coordinators were given too.
    pub token: Secret,
    /// The certificate authority of `https` coordinators, a PEM file; empty when they speak plain text.
    pub ca_file: String,
    /// How long a request for a lease waits in the queue before the cycle snoozes.
    pub wait_seconds: u64,
    /// How long a cycle snoozes when no coordinator is reached.
    pub away_snooze_seconds: u64,
    /// What each class of service is due at every limit.
    pub shares: Shares,
}

/// A `[throttle]` section that cannot work, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No coordinator is named.
    #[error("`throttle.urls` is empty; name at least one coordinator, such as http://127.0.0.1:7400")]
    NoUrl,
    /// A URL that is none.
    #[error("`throttle.urls` holds `{url}`, which is no URL; write it like http://host:7400")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// TLS without anyone to trust.
    #[error(
        "`throttle.urls` holds `{url}` but `throttle.ca_file` is not set; name the PEM file of the authority that signed the coordinator's certificate"
    )]
    NoAuthority {
        /// What was given.
        url: String,
    },
    /// The authority's file cannot be used.
    #[error("`throttle.ca_file` cannot be used ({source}); it must be a readable PEM file")]
    BadAuthority {
        /// What reading it said.
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("TLS to `{url}` cannot be set up; check that `throttle.ca_file` holds a PEM certificate")]
    BadTls {
        /// The coordinator.
        url: String,
    },
    /// The token cannot travel in a header.
    #[error(
        "`throttle.token` is empty or holds characters outside printable ASCII; make one with `openssl rand -hex 32`"
    )]
    BadToken,
}

impl Config {
    /// Refuses what cannot work, before anything is connected to.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.endpoints()?;
        self.bearer().map(drop)
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }

    pub(crate) fn away_snooze(&self) -> Duration {
        Duration::from_secs(self.away_snooze_seconds)
    }

    /// The `authorization` header.
    pub(crate) fn bearer(&self) -> Result<MetadataValue<Ascii>, ConfigError> {
        let token = self.token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConfigError::BadToken);
        }
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| ConfigError::BadToken)?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// One transport endpoint per coordinator. A coordinator that does not answer a ping for 5 s is left for another.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, ConfigError> {
        if self.urls.is_empty() {
            return Err(ConfigError::NoUrl);
        }
        self.urls.iter().map(|url| self.endpoint(url)).collect()
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, ConfigError> {
        let bad = || ConfigError::BadUrl { url: url.to_owned() };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(bad());
        }
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|_| bad())?
            .connect_timeout(Duration::from_secs(3))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        if !url.starts_with("https://") {
            return Ok(endpoint);
        }
        if self.ca_file.is_empty() {
            return Err(ConfigError::NoAuthority { url: url.to_owned() });
        }
        let authority =
            std::fs::read(&self.ca_file).map_err(|source| ConfigError::BadAuthority { source })?;
        endpoint
            .tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)))
            .map_err(|_| ConfigError::BadTls { url: url.to_owned() })
    }
}

//! The settings of the broker. The defaults are in `config.default.toml`, not here.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use model::secret::Secret;
use serde::Deserialize;

/// Where `RabbitMQ` is and how invitations travel. `Debug` shows no credentials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS. Characters with a meaning in an address are
    /// percent-encoded: the virtual host `/` is `%2f`.
    pub url: Secret,
    /// PEM file with the authorities that an `amqps` broker's certificate may come from, beside the system's; empty: those
    /// alone.
    #[serde(default)]
    pub ca_file: String,
    /// The most messages sent and not yet confirmed.
    pub publish_window: NonZeroU32,
    /// How long an invitation waits in a work queue before the broker drops it. The scheduler makes the row due
    /// again after this and a margin. Part of the queue's arguments: to change it the queues are deleted first.
    pub message_ttl_seconds: NonZeroU32,
    /// How long nothing may be heard of the messages under way before they count as unconfirmed.
    pub confirm_timeout_seconds: NonZeroU32,
    /// How often both sides prove that they live; a silent peer is given up after twice this.
    pub heartbeat_seconds: NonZeroU16,
}

impl Config {
    pub(crate) fn message_ttl(&self) -> Duration {
        Duration::from_secs(self.message_ttl_seconds.get().into())
    }

    pub(crate) fn confirm_timeout(&self) -> Duration {
        Duration::from_secs(self.confirm_timeout_seconds.get().into())
    }
}

//! The `[jobs]` section. The defaults are in `config.default.toml`.

use std::num::NonZeroU16;

use serde::Deserialize;
use store::session::Times;

/// How much the async job service takes at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Jobs at once, in slots of their own: synchronization never waits for them, nor they for it.
    pub slots: NonZeroU16,
    /// Connections to Postgres at most, of a pool of its own, also where other roles share the process.
    pub pool_size: usize,
    /// How long a job that could not be run is left alone before it is tried again, in seconds; after a failure of ours
    /// twice as long each time.
    pub retry_seconds: u64,
    /// The longest of these times, in seconds.
    pub retry_most_seconds: u64,
    /// How the service's session is kept alive.
    pub session: Times,
}

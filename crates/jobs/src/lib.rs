//! The async job service: operations that people asked for, on a queue, slots and settings of their own, so that they
//! and the synchronization cannot hurt each other.
//!
//! One file per job, one line to register it. A job's payload is ids; every job may run twice.

mod config;
mod handler;
mod key_rotation;
mod test_and_enable;

use std::time::Duration;

use broker::Queue;
use cycle::life::{self, Life, Unlivable};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use test_and_enable::TestAndEnable;

use crate::handler::Jobs;

/// What the service works with beside its configuration.
#[derive(Clone)]
pub struct Parts {
    /// What cycles and tests work with.
    pub cycle: cycle::Parts,
    /// Where invitations come from.
    pub broker: broker::Config,
    /// Where leases come from.
    pub throttle: throttle::Config,
    /// The process's name, for people: host name and process id.
    pub process: String,
}

/// Runs until the shutdown, one session after the other.
pub async fn run(config: Config, parts: Parts, shutdown: CancellationToken) -> Result<(), Unlivable> {
    let life = Life {
        role: "jobs",
        process: parts.process,
        store: parts.cycle.store.clone(),
        broker: parts.broker,
        throttle: parts.throttle,
        queues: vec![Queue::Jobs],
        slots: config.slots,
        runs_cycles: false,
        session: config.session,
    };
    let retry = Duration::from_secs(config.retry_seconds);
    life::live(life, |under| Jobs::new(parts.cycle.clone(), under, retry), shutdown).await
}

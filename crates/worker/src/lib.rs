//! A worker: takes invitations, claims them, and runs cycles under leases.
//!
//! It keeps nothing between deliveries but TLS session tickets. When its session is lost it stops everything at once
//! and begins a new one: others have its work by then.

mod config;
mod handler;
mod trace;

use broker::Queue;
use cycle::life::{self, Life, Unlivable};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::handler::Cycles;

/// What a worker works with beside its configuration.
#[derive(Clone)]
pub struct Parts {
    /// What cycles work with.
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
        role: "worker",
        process: parts.process,
        store: parts.cycle.store.clone(),
        broker: parts.broker,
        throttle: parts.throttle,
        queues: config.workloads.iter().map(|workload| Queue::of(*workload)).collect(),
        slots: config.slots,
        runs_cycles: true,
        session: config.session,
    };
    life::live(life, |under| Cycles::new(parts.cycle.clone(), under), shutdown).await
}

//! A worker: takes invitations, claims them, and runs cycles under leases.
//!
//! It keeps nothing between deliveries but TLS session tickets. When its session is lost it stops everything at once
//! and begins a new one: others have its work by then.

mod config;
mod handler;
mod instruments;
mod trace;
mod watch;

use broker::Queue;
use cycle::life::{self, Life, Means, Unlivable};
use model::workload::Workload;
use tokio_util::sync::CancellationToken;

pub use config::{Config, Watch};

use crate::handler::Cycles;

/// Runs until the shutdown, one session after the other.
pub async fn run(config: Config, means: Means, shutdown: CancellationToken) -> Result<(), Unlivable> {
    let life = Life {
        role: "worker",
        queues: config.workloads.iter().map(|workload| Queue::of(*workload)).collect(),
        slots: config.slots,
        kept: Some((Queue::of(Workload::Outgoing), config.kept_for_sends())),
        places: config.places(),
        session: config.session,
    };
    let handler = |under| Cycles::new(means.parts.clone(), under);
    let watching = |under, stop| watch::listen(config.watch, means.parts.clone(), under, stop);
    life::live(life, &means, handler, watching, shutdown).await
}

//! The scheduler: the only one who publishes work. It scans the store for what is due, queues it within the windows,
//! publishes one message per cycle, and makes due again what nobody works on any more.
//!
//! One code path: a poke makes the scan happen now, and nothing else. It holds no state that matters, so any number
//! of schedulers may run, and a killed one loses nothing: what it queued and did not publish is swept.

mod config;
mod gauges;
mod instruments;
mod publish;
mod pulse;
mod scan;
mod upkeep;

use std::time::Duration;

use broker::Publisher;
use model::workload::Workload;
use store::{Store, schedule};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::instruments::Instruments;
use crate::pulse::Pulse;

/// Why the scheduler cannot run at all; everything else it waits for and tries again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker's address cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// Runs until the shutdown. `database` is what pokes are listened for with.
pub async fn run(
    config: Config,
    store: Store,
    database: store::Config,
    broker: broker::Config,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let publisher = Publisher::new(&broker, "lockstep scheduler")?;
    let mut scheduler = Scheduler {
        store,
        publisher,
        config,
        pulse: Pulse::default(),
        instruments: Instruments::default(),
        last_scan: Instant::now(),
    };
    let mut pokes = schedule::listen(&database);
    let mut scans = ticking(scheduler.config.scan_millis);
    let mut sweeps = ticking(scheduler.config.sweep_seconds * 1000);
    let mut repairs = ticking(scheduler.config.repair_seconds * 1000);
    let mut forgetting = ticking(FORGET_EVERY_SECONDS * 1000);
    loop {
        // What has begun is finished: a batch that was claimed is published before the scheduler stops. What comes by the
        // clock goes before the pokes: of those there may always be another one.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            _ = sweeps.tick() => {
                scheduler.sweep().await;
                scheduler.observe().await;
            }
            _ = repairs.tick() => {
                scheduler.repair().await;
                scheduler.look_ahead().await;
            }
            _ = forgetting.tick() => {
                scheduler.forget().await;
                scheduler.forget_answers().await;
                scheduler.forget_changes().await;
            }
            () = pokes.next() => scheduler.scan().await,
            _ = scans.tick() => scheduler.scan().await,
        }
    }
}

fn ticking(millis: u64) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_millis(millis.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

struct Scheduler {
    store: Store,
    publisher: Publisher,
    config: Config,
    pulse: Pulse,
    instruments: Instruments,
    last_scan: Instant,
}

/// How often old rows are looked for; what is forgotten an hour late is forgotten soon enough.
const FORGET_EVERY_SECONDS: u64 = 3600;

/// The workloads that are scanned, in the order they are: a send should leave before the mailboxes are read.
const ORDER: [Workload; 3] = [Workload::Outgoing, Workload::Incoming, Workload::Act];

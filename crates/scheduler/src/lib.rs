//! The scheduler: the only one who publishes work. It looks in the store for what is due, queues it within the windows,
//! publishes one message per cycle, and makes due again what nobody works on any more.
//!
//! One code path: a poke makes the look happen now, and nothing else. It holds no state that matters, so any number
//! of schedulers may run, and a killed one loses nothing: what it queued and did not publish is swept.

mod config;
mod gauges;
mod instruments;
mod lane;
mod look;
mod publish;
mod pulse;
mod upkeep;

use std::time::Duration;

use broker::Publisher;
use model::workload::Workload;
use store::{Store, schedule};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::instruments::Instruments;
use crate::lane::Lane;
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
    let scheduler = Scheduler {
        store,
        publisher,
        config,
        pulse: Pulse::default(),
        instruments: Instruments::default(),
        lanes: [Workload::Outgoing, Workload::Incoming, Workload::Act].map(Lane::new),
        swept: Notify::new(),
        shutdown,
    };
    // The lanes do not wait for each other: a send that is wished for leaves while a backlog of incoming mail is queued.
    let [first, second, third] = &scheduler.lanes;
    tokio::join!(
        scheduler.watch(schedule::listen(&database)),
        scheduler.keep_up(),
        scheduler.drive(first),
        scheduler.drive(second),
        scheduler.drive(third),
    );
    Ok(())
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
    lanes: [Lane; 3],
    /// A sweep made something due.
    swept: Notify,
    shutdown: CancellationToken,
}

impl Scheduler {
    /// Looks every so often, and whenever somebody says that there is something.
    async fn watch(&self, mut pokes: schedule::Pokes) {
        let mut looks = ticking(self.config.scan_millis);
        loop {
            // What comes by the clock goes before the pokes: of those there may always be another one.
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                _ = looks.tick() => {}
                () = self.swept.notified() => {}
                () = pokes.next() => {}
            }
            self.look().await;
        }
    }

    /// Brings back what was lost and forgets what is old, at its own pace however much is due.
    async fn keep_up(&self) {
        let mut sweeps = ticking(self.config.sweep_seconds * 1000);
        let mut repairs = ticking(self.config.repair_seconds * 1000);
        let mut forgetting = ticking(FORGET_EVERY_SECONDS * 1000);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                _ = sweeps.tick() => {
                    self.sweep().await;
                    self.observe().await;
                }
                _ = repairs.tick() => {
                    self.repair().await;
                    self.look_ahead().await;
                }
                _ = forgetting.tick() => {
                    self.forget_answers().await;
                }
            }
        }
    }
}

/// How often old rows are looked for; what is forgotten an hour late is forgotten soon enough.
const FORGET_EVERY_SECONDS: u64 = 3600;

//! The async job service: operations that people asked for, on a queue, slots and settings of their own, so that they
//! and the synchronization cannot hurt each other.
//!
//! One file per job, one line to register it. A job's payload is ids; every job may run twice.

mod batches;
mod clean_up;
mod config;
mod handler;
mod key_rotation;
mod re_examine;
mod test_and_enable;
mod test_profile;

use std::time::Duration;

use broker::Queue;
use cycle::life::{self, Life, Means, Unlivable};
use model::job::Backoff;
use store::session::Slots;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::handler::Jobs;

/// Runs until the shutdown, one session after the other.
pub async fn run(config: Config, means: Means, shutdown: CancellationToken) -> Result<(), Unlivable> {
    let life = Life {
        role: "jobs",
        queues: vec![Queue::Jobs],
        slots: config.slots,
        kept: None,
        places: Slots::default(),
        session: config.session,
    };
    let first = Duration::from_secs(config.retry_seconds);
    let backoff = Backoff { first, most: Duration::from_secs(config.retry_most_seconds).max(first) };
    let handler = |under| Jobs::new(means.parts.clone(), under, backoff);
    life::live(life, &means, handler, |_, _| std::future::ready(()), shutdown).await
}

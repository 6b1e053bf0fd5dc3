//! The `[scheduler]` section. The defaults are in `config.default.toml`.

use serde::Deserialize;
use store::schedule::SweepTimes;

/// How often the scheduler looks, and how much it takes at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How often it looks for what is due without being poked, in milliseconds.
    pub scan_millis: u64,
    /// Cycles of one workload that it queues in one transaction.
    pub batch: u32,
    /// The most of all workers' slots that one profile and class may have, in percent.
    pub profile_share_percent: u32,
    /// Jobs that may be queued or running at once, over all organizations.
    pub job_window: u32,
    /// How often it looks for dead workers and lost messages, in seconds.
    pub sweep_seconds: u64,
    /// How often it repairs pending sends without a due time, in seconds.
    pub repair_seconds: u64,
    /// When work counts as lost.
    pub sweep: SweepTimes,
}

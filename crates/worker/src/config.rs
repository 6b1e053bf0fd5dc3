//! The `[worker]` section. The defaults are in `config.default.toml`.

use std::num::NonZeroU16;

use model::workload::Workload;
use serde::Deserialize;
use store::session::Times;

/// What a worker takes and how much of it at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The workloads this worker takes.
    pub workloads: Vec<Workload>,
    /// Cycles at once, over all of its workloads.
    pub slots: NonZeroU16,
    /// How the worker's session is kept alive.
    pub session: Times,
}

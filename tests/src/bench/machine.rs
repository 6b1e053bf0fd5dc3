//! What the figures were measured on, as far as it changes them.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The machine at the beginning of a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// The load average over the last minute: what else the cores were doing.
    pub(super) load: f64,
    /// Acknowledged `fdatasync`s a second of 8 KiB each, where the servers keep their data.
    pub(super) fsyncs: f64,
    memory_gb: u64,
}

impl Machine {
    pub(super) fn look() -> Self {
        Self {
            cores: cores(),
            load: first_number("/proc/loadavg"),
            fsyncs: fsyncs().unwrap_or(0.0),
            memory_gb: memory_gb(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, load, fsyncs, memory_gb } = self;
        write!(
            f,
            "{cores} cores, {memory_gb} GB of memory, load {load:.1} before the run, {fsyncs:.0} fdatasync/s"
        )
    }
}

/// What the machine's cores did so far, in ticks of them all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    all: f64,
    stolen: f64,
}

impl Ticks {
    /// Since the machine started (proc(5), the first line of `/proc/stat`).
    pub(super) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<f64> =
            line.split_whitespace().skip(1).take(8).filter_map(|number| number.parse().ok()).collect();
        Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or_default() }
    }

    /// How much of the time since then, in percent, others had the cores that this machine was to have: on a rented machine a
    /// figure that was measured while it is much says little.
    pub(super) fn stolen_since(self, earlier: Self) -> f64 {
        100.0 * (self.stolen - earlier.stolen) / (self.all - earlier.all).max(1.0)
    }
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn fsyncs() -> std::io::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let started = Instant::now();
    let mut count = 0.0;
    while started.elapsed() < Duration::from_millis(500) {
        file.write_all(&[0x5a; 8192])?;
        File::sync_data(&file)?;
        count += 1.0;
    }
    Ok(count / started.elapsed().as_secs_f64())
}

fn memory_gb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1_000_000
}

fn first_number(path: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

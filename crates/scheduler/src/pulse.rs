//! Says once when a part goes away and once when it is back, however often it is asked in between.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the last try worked.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    failing: AtomicBool,
}

impl Pulse {
    /// Notes how a try went.
    pub(crate) fn beat<T, E: std::fmt::Display>(&self, what: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the scheduler goes on");
                }
                Some(value)
            }
            Err(error) => {
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!("{what}: {error}; the scheduler tries again until it works");
                }
                None
            }
        }
    }
}

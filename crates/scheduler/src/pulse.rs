//! Says once when a part goes away and once when it is back, however often it is asked in between.

/// Whether the last try worked.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    failing: bool,
}

impl Pulse {
    /// Notes how a try went.
    pub(crate) fn beat<T, E: std::fmt::Display>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the scheduler goes on");
                }
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("{what}: {error}; the scheduler tries again until it works");
                }
                None
            }
        }
    }
}

//! Waiting for conditions.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Generous: a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until `look` gives a value; an error says what is seen instead.
///
/// # Panics
/// When it took longer than a minute, with what was seen last.
pub async fn until<T, E: Display>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    match within(PATIENCE, look).await {
        Ok(value) => value,
        Err(seen) => panic!("waited {} s for this: {what}; seen instead: {seen}", PATIENCE.as_secs()),
    }
}

/// Looks until `look` gives a value, or for `patience`; then what was seen last.
pub async fn within<T, E: Display>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(10);
    loop {
        match look().await {
            Err(_) if Instant::now() < deadline => {}
            result => return result,
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

//! How long to wait before the next try: doubled at each failure up to a ceiling, and spread by chance so that a
//! hundred processes do not knock on a restarted broker in the same instant.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const CEILING: Duration = Duration::from_secs(10);

/// The waiting between tries at one thing.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    next_try: Option<Instant>,
}

impl Backoff {
    /// Waits until the next try may be made: not at all after a success. May be dropped and asked again; the moment
    /// stays the same.
    pub(crate) async fn wait(&self) {
        if let Some(moment) = self.next_try {
            tokio::time::sleep_until(moment).await;
        }
    }

    /// Notes that a try failed.
    pub(crate) fn failed(&mut self) {
        let delay = delay(self.failures, model::clock::random_fraction());
        self.failures = self.failures.saturating_add(1);
        self.next_try = Some(Instant::now() + delay);
    }

    /// Notes that a try succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// Between half of the doubled delay and all of it.
fn delay(failures: u32, fraction: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.min(16)).min(CEILING);
    doubled.mul_f64(0.5 + fraction / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_ceiling_and_is_spread_over_its_upper_half() {
        assert_eq!(delay(0, 0.0), FIRST / 2);
        assert_eq!(delay(1, 0.0), FIRST);
        assert_eq!(delay(3, 0.0), FIRST * 4);
        assert_eq!(delay(30, 0.0), CEILING / 2);
        assert_eq!(delay(u32::MAX, 1.0), CEILING);
    }
}

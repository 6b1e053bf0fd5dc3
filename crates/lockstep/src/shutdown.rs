//! Stopping in two steps: the first signal lets work end, the second (or the drain time) ends it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two steps, as tokens that the roles and the process wait for.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Take nothing new; end what is under way.
    pub drain: CancellationToken,
    /// End now. What was under way is taken up by others, as after a kill.
    pub stop: CancellationToken,
}

impl Shutdown {
    /// Watches for SIGTERM and SIGINT. `drain_for` bounds the first step.
    pub fn on_signals(drain_for: Duration) -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let steps = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = steps.drain.cancelled() => {}
            }
            tracing::info!(
                drain.seconds = drain_for.as_secs(),
                "stopping: taking no new work and ending what is under way; a second signal ends it at once"
            );
            steps.drain.cancel();
            tokio::select! {
                _ = terminate.recv() => tracing::warn!("second signal: ending at once"),
                _ = interrupt.recv() => tracing::warn!("second signal: ending at once"),
                () = tokio::time::sleep(drain_for) => tracing::warn!("not everything ended in time: ending at once"),
            }
            steps.stop.cancel();
        });
        Ok(shutdown)
    }
}

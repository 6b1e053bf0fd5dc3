//! What brings lost work back, now and then.

use store::schedule;

use crate::Scheduler;

impl Scheduler {
    /// Makes due again what dead workers and lost messages left behind.
    pub(crate) async fn sweep(&mut self) {
        let times = self.config.sweep;
        let swept = self.store.in_ring(async |ring| schedule::sweep(ring, &times).await).await;
        let Some(swept) = self.pulse.beat("Postgres cannot be swept", swept) else { return };
        if swept != schedule::Swept::default() {
            tracing::warn!(
                sessions = swept.sessions,
                cycles = swept.cycles,
                undelivered = swept.undelivered,
                jobs = swept.jobs,
                "made due again what nobody works on any more"
            );
            self.scan().await;
        }
    }

    /// Gives pending sends a due time that lost theirs.
    pub(crate) async fn repair(&mut self) {
        let repaired = self.store.in_ring(async |ring| schedule::repair_outgoing(ring).await).await;
        if let Some(rows @ 1..) = self.pulse.beat("Postgres cannot be asked for pending sends", repaired) {
            tracing::warn!(rows, "pending sends had no due time and have one now");
        }
    }
}

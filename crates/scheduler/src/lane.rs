//! One workload's way from due to published. A plan is counted once and queued in batches. What is queued is published while the next
//! batch is queued, or the next plan counted; nothing is published that was not committed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::{CycleInvitation, Invitation};
use model::crash::{self, Point};
use model::window::{in_flight, share_cap};
use model::workload::Workload;
use store::schedule::{self, Place, Plan, Queued, Scan, Turn};
use store::{Ring, session};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep};

use crate::Scheduler;

/// Batches of one plan. More cost less counting a cycle; fewer let a wish, a pause or a new limit take hold sooner.
const BATCHES: u32 = 8;

/// Batches that are committed and wait for the one that is being published, beside the one in hand.
const AHEAD: usize = 1;

/// The most that one plan looks back for what finished: as much as passes between two scans of a ring that is not hurried.
const LOOKS_BACK: Duration = Duration::from_secs(1);

/// How long a lane rests before it plans again. Planning takes a third of the time at most, and a fifth where it is in vain because
/// what is due does not fit; what was queued meanwhile counts as rest.
fn rest(planned: Duration, queued: Duration) -> Duration {
    let parts = if queued.is_zero() { 4 } else { 2 };
    (planned * parts).min(Duration::from_secs(1)).saturating_sub(queued)
}

/// A workload, and how its lane is told that something is due.
pub(crate) struct Lane {
    pub(crate) workload: Workload,
    woken: Notify,
}

impl Lane {
    pub(crate) fn new(workload: Workload) -> Self {
        Self { workload, woken: Notify::new() }
    }

    /// Something may be due. Said while the lane is at work, it looks once more when that is done.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }
}

impl Scheduler {
    /// Queues and publishes whenever it is woken, until the shutdown. What was queued then is still published.
    pub(crate) async fn drive(&self, lane: &Lane) {
        let mut last = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = lane.woken.notified() => {}
            }
            let (planned, queued) = self.drain(lane.workload, &mut last).await;
            let rest = rest(planned, queued);
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = sleep(rest) => {}
            }
        }
    }

    /// Plans, queues and publishes until nothing is left that fits. Says how long the last plan took, and how long its queueing.
    async fn drain(&self, workload: Workload, last: &mut Instant) -> (Duration, Duration) {
        let (batches, mut queued) = mpsc::channel::<Vec<Queued>>(AHEAD);
        let failed = AtomicBool::new(false);
        let publishing = async {
            while let Some(batch) = queued.recv().await {
                // What cannot be published now will not be a moment later; but it is queued, so it is tried.
                if !self.publish_cycles(workload, &batch).await {
                    failed.store(true, Ordering::Relaxed);
                }
            }
        };
        tokio::join!(self.queue_all(workload, last, batches, &failed), publishing).0
    }

    /// Plans and queues until nothing is left that fits, or something could not be published.
    async fn queue_all(
        &self,
        workload: Workload,
        last: &mut Instant,
        batches: mpsc::Sender<Vec<Queued>>,
        failed: &AtomicBool,
    ) -> (Duration, Duration) {
        loop {
            let begun = Instant::now();
            let since_last = begun.duration_since(*last).min(LOOKS_BACK);
            let planned = self.plan(workload, since_last).await;
            let spent = begun.elapsed();
            let Some((mut plan, first)) = planned else { return (spent, Duration::ZERO) };
            *last = begun;
            let mut next = Some(first);
            while let Some(batch) = next
                && batches.send(batch).await.is_ok()
                && !failed.load(Ordering::Relaxed)
            {
                next = self.next(&mut plan).await;
            }
            if plan.complete || !plan.is_done() || failed.load(Ordering::Relaxed) {
                return (spent, begun.elapsed().saturating_sub(spent));
            }
        }
    }

    /// Makes a plan and queues its first batch; none when there is nothing to do, or somebody else does it.
    async fn plan(&self, workload: Workload, since_last: Duration) -> Option<(Plan, Vec<Queued>)> {
        if self.publisher.is_blocked() || self.shutdown.is_cancelled() {
            return None;
        }
        let (batch, percent) = (self.config.batch, self.config.profile_share_percent);
        let planned: store::Result<_> = self
            .store
            .in_ring(async |ring| {
                let live = session::live(ring).await?;
                let slots = live.slots.of(workload);
                let scan = Scan {
                    workload,
                    batch,
                    share_cap: share_cap(slots, percent),
                    in_flight: in_flight(slots),
                    since_last,
                };
                let most = batch.saturating_mul(BATCHES);
                let Some(mut plan) = schedule::plan(ring, &scan, most, Turn::Asked).await? else {
                    return Ok(None);
                };
                let queued = queue(ring, &mut plan, batch).await?;
                Ok(queued.map(|queued| (plan, queued)))
            })
            .await;
        self.pulse
            .beat("Postgres cannot be asked what is due", planned)?
            .filter(|(_, queued)| !queued.is_empty())
    }

    /// The plan's next batch; none when there is none, or it may not be queued now.
    async fn next(&self, plan: &mut Plan) -> Option<Vec<Queued>> {
        if plan.is_done() || self.publisher.is_blocked() || self.shutdown.is_cancelled() {
            return None;
        }
        let batch = self.config.batch;
        let queued = self.store.in_ring(async |ring| queue(ring, plan, batch).await).await;
        self.pulse.beat("Postgres cannot be asked what is due", queued)?
    }

    /// Publishes one batch, and makes due again what the broker does not have. Says whether it has everything.
    async fn publish_cycles(&self, workload: Workload, queued: &[Queued]) -> bool {
        if queued.is_empty() {
            return true;
        }
        crash::point(Point::QueueAfter);
        let latest = queued.iter().map(|cycle| cycle.waited).max().unwrap_or_default();
        let invitations = queued.iter().map(|cycle| {
            Invitation::Cycle(CycleInvitation {
                organization: cycle.place.organization,
                mailbox: cycle.place.claim.mailbox,
                workload,
                claim: cycle.place.claim.number,
            })
        });
        let lost = self.publish(workload.as_str(), invitations.collect(), latest).await;
        crash::point(Point::PublishAfter);
        let places: Vec<Place> =
            lost.into_iter().filter_map(|index| queued.get(index)).map(|cycle| cycle.place).collect();
        if places.is_empty() {
            return true;
        }
        let back = self.store.in_ring(async |ring| schedule::unpublish(ring, &places).await).await;
        self.pulse.beat("Postgres cannot take back what was not published; the sweep will", back);
        false
    }
}

async fn queue(ring: &Ring, plan: &mut Plan, batch: u32) -> store::Result<Option<Vec<Queued>>> {
    let queued = schedule::queue_planned(ring, plan, batch).await?;
    if queued.as_ref().is_some_and(|queued| !queued.is_empty()) {
        crash::point(Point::QueueBefore);
    }
    Ok(queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_in_vain_rests_four_times_as_long_as_it_took_and_one_that_queued_twice_as_long_less_its_queueing()
     {
        let millis = Duration::from_millis;
        for (planned, queued, expected) in [
            (millis(10), millis(0), millis(40)),
            (millis(10), millis(15), millis(5)),
            (millis(200), millis(1500), millis(0)),
            (millis(200), millis(100), millis(300)),
            (millis(5000), millis(0), millis(1000)),
        ] {
            assert_eq!(rest(planned, queued), expected, "{planned:?} {queued:?}");
        }
    }
}

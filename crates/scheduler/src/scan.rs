//! One scan: what is due becomes queued in one transaction, and is published when that is committed.

use std::time::Duration;

use broker::{CycleInvitation, Invitation, JobInvitation, Queue};
use model::crash::{self, Point};
use model::window::share_cap;
use model::workload::Workload;
use store::job;
use store::schedule::{self, Place, Scan};
use store::session;
use tokio::time::Instant;

use crate::{ORDER, Scheduler};

impl Scheduler {
    /// Looks for what is due until nothing is left that fits. While the broker cannot be published to, nothing is
    /// claimed: it would only wait in the wrong place.
    pub(crate) async fn scan(&mut self) {
        let ready = self.publisher.ready().await;
        let Some(ready) = self.pulse.beat("RabbitMQ cannot be published to", ready) else { return };
        for queue in ready.missing {
            self.queue_lost(queue).await;
        }
        if ready.blocked {
            self.pulse.beat("RabbitMQ takes no messages", Err::<(), _>("it has raised a resource alarm"));
            return;
        }
        // A scan that had to be cut short widens no window twice: what finished is counted since the last one began.
        let since_last = self.last_scan.elapsed();
        self.last_scan = Instant::now();
        // In rounds, a batch of each: a send that is wished for while a backlog of incoming mail is queued waits for one
        // batch of it, not for all.
        loop {
            let mut more = false;
            for workload in ORDER {
                more |= self.scan_workload(workload, since_last).await;
            }
            more |= self.scan_jobs().await;
            if !more {
                return;
            }
        }
    }

    /// Queues and publishes one batch. Says whether another may be waiting.
    async fn scan_workload(&mut self, workload: Workload, since_last: Duration) -> bool {
        let (batch, percent) = (self.config.batch, self.config.profile_share_percent);
        let claimed: store::Result<_> = self
            .store
            .in_ring(async |ring| {
                let live = session::live(ring).await?;
                let scan = Scan { workload, batch, share_cap: share_cap(live.slots, percent), since_last };
                let queued = schedule::claim_due(ring, &scan).await?;
                if !queued.is_empty() {
                    crash::point(Point::QueueBefore);
                }
                Ok(queued)
            })
            .await;
        let Some(queued) = self.pulse.beat("Postgres cannot be asked what is due", claimed) else {
            return false;
        };
        if queued.is_empty() {
            return false;
        }
        crash::point(Point::QueueAfter);
        let full = queued.len() >= usize::try_from(batch).unwrap_or(usize::MAX);
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
            return full;
        }
        let back = self.store.in_ring(async |ring| schedule::unpublish(ring, &places).await).await;
        self.pulse.beat("Postgres cannot take back what was not published; the sweep will", back);
        // What could not be published now will not be a moment later.
        false
    }

    async fn scan_jobs(&mut self) -> bool {
        let batch = self.config.batch;
        let window = self.config.job_window;
        let claimed = self.store.in_ring(async |ring| job::claim_due(ring, batch, window).await).await;
        let Some(queued) = self.pulse.beat("Postgres cannot be asked which jobs are due", claimed) else {
            return false;
        };
        if queued.is_empty() {
            return false;
        }
        let full = queued.len() >= usize::try_from(batch).unwrap_or(usize::MAX);
        let invitations = queued.iter().map(|job| {
            Invitation::Job(JobInvitation {
                organization: job.place.organization,
                job: job.place.claim.job,
                claim: job.place.claim.number,
            })
        });
        let lost = self.publish("jobs", invitations.collect(), Duration::ZERO).await;
        let places: Vec<_> =
            lost.into_iter().filter_map(|index| queued.get(index)).map(|job| job.place).collect();
        if places.is_empty() {
            return full;
        }
        let back = self.store.in_ring(async |ring| job::unpublish(ring, &places).await).await;
        self.pulse.beat("Postgres cannot take back the jobs that were not published; the sweep will", back);
        false
    }

    /// A queue that had to be declared anew took its messages with it.
    async fn queue_lost(&mut self, queue: Queue) {
        let workload = ORDER.into_iter().find(|workload| Queue::of(*workload) == queue);
        let lost = match (workload, queue) {
            (Some(workload), _) => {
                self.store.in_ring(async |ring| schedule::queue_lost(ring, workload).await).await
            }
            (None, Queue::Jobs) => self.store.in_ring(async |ring| job::queue_lost(ring).await).await,
            (None, _) => return,
        };
        match self.pulse.beat("Postgres cannot make due what a lost queue held; the sweep will", lost) {
            None | Some(0) => {}
            Some(rows) => tracing::warn!(%queue, rows, "the queue was missing: what it held is due again"),
        }
    }
}

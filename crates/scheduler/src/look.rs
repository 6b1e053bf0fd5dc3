//! One look at what is due: it wakes the lanes that have something to do, asks for the jobs of schedules whose time has come,
//! and queues jobs. It queues no cycle itself.

use std::time::Duration;

use broker::{Invitation, JobInvitation, Queue};
use model::workload::Workload;
use store::job_schedule::{Due, Fired};
use store::{job, job_schedule, schedule};

use crate::Scheduler;

/// Schedules that one look asks for the jobs of; the next look goes on.
const SCHEDULES_AT_ONCE: i64 = 100;

impl Scheduler {
    /// Looks once. While the broker cannot be published to, nothing is queued: it would only wait in the wrong place.
    pub(crate) async fn look(&self) {
        let ready = self.publisher.ready().await;
        let Some(ready) = self.pulse.beat("RabbitMQ cannot be published to", ready) else { return };
        for queue in ready.missing {
            self.queue_lost(queue).await;
        }
        if ready.blocked {
            self.pulse.beat("RabbitMQ takes no messages", Err::<(), _>("it has raised a resource alarm"));
            return;
        }
        let due: store::Result<_> = self
            .store
            .in_ring(async |ring| {
                Ok((schedule::any_due(ring).await?, job_schedule::due(ring, SCHEDULES_AT_ONCE).await?))
            })
            .await;
        let Some((due, schedules)) = self.pulse.beat("Postgres cannot be asked what is due", due) else {
            return;
        };
        for lane in self.lanes.iter().filter(|lane| due.contains(&lane.workload)) {
            lane.wake();
        }
        self.fire(&schedules).await;
        while self.queue_jobs().await {}
    }

    /// Asks for the jobs of schedules whose time has come, each in a transaction of its own: one that cannot be taken holds
    /// up no other.
    async fn fire(&self, schedules: &[Due]) {
        for due in schedules {
            let fired = self
                .store
                .in_tenant(due.organization, async |tenant| job_schedule::fire(tenant, due.schedule).await)
                .await;
            if let Some(Some(Fired::StillThere(job))) =
                self.pulse.beat("Postgres cannot take the job of a schedule", fired)
            {
                tracing::warn!(job.id = %job, "a schedule's time came while its last job had not ended: no other is asked for");
            }
        }
    }

    /// Queues and publishes one batch of jobs. Says whether another may be waiting.
    async fn queue_jobs(&self) -> bool {
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
            return full && !self.shutdown.is_cancelled();
        }
        let back = self.store.in_ring(async |ring| job::unpublish(ring, &places).await).await;
        self.pulse.beat("Postgres cannot take back the jobs that were not published; the sweep will", back);
        false
    }

    /// A queue that had to be declared anew took its messages with it.
    async fn queue_lost(&self, queue: Queue) {
        let workload = Workload::ALL.iter().copied().find(|workload| Queue::of(*workload) == queue);
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

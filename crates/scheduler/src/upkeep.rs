//! What brings lost work back, now and then. What an organization keeps for a time is removed by a job of its own.

use model::actor::Actor;
use model::id::{MailboxId, OrganizationId};
use model::setting::EXPIRY_WARNING_DAYS;
use model::workload::Workload;
use store::change::Author;
use store::{idempotency, mailbox, oauth, outgoing, schedule, setting};

use crate::Scheduler;

/// Mailboxes with waiting sends that one round looks at.
const AT_ONCE: i64 = 1000;
/// Rows that one statement forgets.
const FORGOTTEN_AT_ONCE: u32 = 10_000;

impl Scheduler {
    /// Makes due again what dead workers and lost messages left behind.
    pub(crate) async fn sweep(&self) {
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
            self.swept.notify_one();
        }
    }

    /// Gives pending sends a due time that lost theirs.
    pub(crate) async fn repair(&self) {
        let repaired = self.store.in_ring(async |ring| schedule::repair_outgoing(ring).await).await;
        if let Some(rows @ 1..) = self.pulse.beat("Postgres cannot be asked for pending sends", repaired) {
            tracing::warn!(rows, "pending sends had no due time and have one now");
        }
        let held_up = self.store.in_ring(async |ring| outgoing::held_up(ring, AT_ONCE).await).await;
        for (organization, mailbox) in
            self.pulse.beat("Postgres cannot be asked which sends wait", held_up).unwrap_or_default()
        {
            let aged = self.age(organization, mailbox).await;
            self.pulse.beat("Postgres cannot take what waits too long", aged);
        }
    }

    /// Forgets the answers that are kept for repeated requests, once their time is over.
    pub(crate) async fn forget_answers(&self) {
        loop {
            let most = i64::from(FORGOTTEN_AT_ONCE);
            let forgotten = self.store.in_ring(async |ring| idempotency::forget(ring, most).await).await;
            let forgotten = self.pulse.beat("Postgres cannot forget answers to old requests", forgotten);
            if forgotten.is_none_or(|rows| rows < u64::from(FORGOTTEN_AT_ONCE)) {
                return;
            }
        }
    }

    /// Tells ahead of what will stop working on a day that is known.
    pub(crate) async fn look_ahead(&self) {
        let widest = 90;
        let expiring = self.store.in_ring(async |ring| oauth::expiring(ring, widest, AT_ONCE).await).await;
        for expiring in self.pulse.beat("Postgres cannot be asked what expires", expiring).unwrap_or_default()
        {
            let warned = self.warn(&expiring).await;
            self.pulse.beat("Postgres cannot take what expires", warned);
        }
    }

    async fn warn(&self, expiring: &oauth::Expiring) -> store::Result<()> {
        let tenant = self.store.tenant(expiring.organization).await?;
        let days = setting::get(&tenant, EXPIRY_WARNING_DAYS).await?.value;
        let days = days.as_i64().and_then(|days| i32::try_from(days).ok()).unwrap_or_default();
        oauth::warn(&tenant, expiring, days).await?;
        tenant.commit().await
    }

    /// Tells about sends that wait, and gives up those that are too old, also where no cycle runs.
    async fn age(&self, organization: OrganizationId, id: MailboxId) -> store::Result<()> {
        let actor = Actor::Cycle { mailbox: id, workload: Workload::Outgoing, claim: 0 };
        let by = Author::new(actor, "upkeep");
        self.store
            .in_tenant(organization, async |tenant| {
                let Some(mailbox) = mailbox::for_cycle(tenant, id, Workload::Outgoing).await? else {
                    return Ok(());
                };
                outgoing::tell_in_doubt(tenant, id, &mailbox.endpoint().key()).await?;
                outgoing::age(tenant, id, mailbox.max_send_age, &by).await
            })
            .await
    }
}

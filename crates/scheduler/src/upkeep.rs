//! What brings lost work back, now and then.

use model::actor::Actor;
use model::id::{MailboxId, OrganizationId};
use model::workload::Workload;
use store::change::Author;
use store::{mailbox, outgoing, schedule};

use crate::Scheduler;

/// Mailboxes with waiting sends that one round looks at.
const AT_ONCE: i64 = 1000;

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
        let held_up = self.store.in_ring(async |ring| outgoing::held_up(ring, AT_ONCE).await).await;
        for (organization, mailbox) in
            self.pulse.beat("Postgres cannot be asked which sends wait", held_up).unwrap_or_default()
        {
            let aged = self.age(organization, mailbox).await;
            self.pulse.beat("Postgres cannot take what waits too long", aged);
        }
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
                outgoing::age(tenant, id, mailbox.max_send_age, &by).await
            })
            .await
    }
}

//! What makes a workload due, or stops it: enabling, wishes, and bumps. Each of these runs in the transaction of the
//! change that causes it.

use std::time::Duration;

use model::cadence::DueReason;
use model::id::{MailboxId, ProfileId};
use model::workload::Workload;

use crate::{Result, Tenant, Transaction};

/// The channel on which the scheduler is told that something is due. Pokes carry no data.
pub(super) const CHANNEL: &str = "lockstep_due";

/// Gives a workload its row: idle, and due at no time until it is enabled. Harmless where the row exists.
pub async fn create(
    tenant: &Tenant,
    mailbox: MailboxId,
    workload: Workload,
    profile: ProfileId,
) -> Result<()> {
    tenant
        .execute(
            "insert into schedules (organization_id, mailbox_id, workload, profile_id, due_reason)
             values (current_organization(), $1, $2, $3, $4) on conflict do nothing",
            &[&mailbox.0, &workload.as_str(), &profile.0, &DueReason::Disabled.as_str()],
        )
        .await?;
    Ok(())
}

/// Counts the mailbox's workloads on another profile from now on. The caller bumps them as well.
pub async fn set_profile(tenant: &Tenant, mailbox: MailboxId, profile: ProfileId) -> Result<()> {
    tenant
        .execute("update schedules set profile_id = $2 where mailbox_id = $1", &[&mailbox.0, &profile.0])
        .await?;
    Ok(())
}

/// Makes a workload due after `delay` (zero: now), for the first time or again after a bump. Its counters start
/// over. A row that is queued or running is left alone: its own finish says when it is due.
pub async fn make_due(
    tenant: &Tenant,
    mailbox: MailboxId,
    workload: Workload,
    reason: DueReason,
    delay: Duration,
) -> Result<()> {
    let touched = tenant
        .execute(
            "update schedules set due_at = now() + make_interval(secs => $4), due_reason = $3,
                not_before = null, not_before_reason = null,
                quiet_cycles = 0, failures = 0, refusals = 0, first_refused_at = null, deaths = 0, held_since = null
             where mailbox_id = $1 and workload = $2 and state = 'idle'",
            &[&mailbox.0, &workload.as_str(), &reason.as_str(), &delay.as_secs_f64()],
        )
        .await?;
    if touched > 0 && delay.is_zero() {
        poke(tenant).await?;
    }
    Ok(())
}

/// Takes a workload (or all of a mailbox) out of the ring: idle, due at no time, under a new claim. A cycle that
/// runs stops at its next commit, and a message that is on its way gets nothing.
pub async fn bump(tenant: &Tenant, mailbox: MailboxId, workload: Option<Workload>) -> Result<()> {
    tenant
        .execute(
            "update schedules set claim = claim + 1, state = 'idle', session_id = null, since = now(),
                due_at = null, due_reason = $3, not_before = null, not_before_reason = null, wished_at = null
             where mailbox_id = $1 and ($2::text is null or workload = $2)",
            &[&mailbox.0, &workload.map(Workload::as_str), &DueReason::Disabled.as_str()],
        )
        .await?;
    Ok(())
}

/// Wishes a workload to run now: Sync now, Send, push. Passes over the due time, never over a back-off. Says whether
/// the wish was taken: a workload that is not enabled takes none.
pub async fn wish(tenant: &Tenant, mailbox: MailboxId, workload: Workload) -> Result<bool> {
    let taken = tenant
        .execute(
            "update schedules s set wished_at = coalesce(wished_at, now())
             where mailbox_id = $1 and workload = $2
               and exists (select from mailbox_workloads w
                           where w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                             and w.workload = s.workload and w.enabled)",
            &[&mailbox.0, &workload.as_str()],
        )
        .await?;
    if taken == 0 {
        return Ok(false);
    }
    poke(tenant).await?;
    Ok(true)
}

/// Wishes a workload of several mailboxes to run now. Says of how many the wish was taken.
pub async fn wish_all(tenant: &Tenant, mailboxes: &[MailboxId], workload: Workload) -> Result<u64> {
    let ids: Vec<_> = mailboxes.iter().map(|id| id.0).collect();
    let taken = tenant
        .execute(
            "update schedules s set wished_at = coalesce(wished_at, now())
             where mailbox_id = any($1) and workload = $2
               and exists (select from mailbox_workloads w
                           where w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                             and w.workload = s.workload and w.enabled)",
            &[&ids, &workload.as_str()],
        )
        .await?;
    if taken > 0 {
        poke(tenant).await?;
    }
    Ok(taken)
}

/// Tells the scheduler to look, once this transaction is committed.
pub async fn poke(transaction: &Transaction) -> Result<()> {
    transaction.query_one("select pg_notify($1, '')", &[&CHANNEL]).await?;
    Ok(())
}

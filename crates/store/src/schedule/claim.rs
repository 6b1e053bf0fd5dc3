//! A worker's half of the ring: take a cycle by its number, write only under it, and say when it is due again.

use std::time::Duration;

use model::cadence::{DueReason, History, Next, Outcome};
use model::failure::FailureScope;
use model::id::{ProfileId, SessionId};
use tokio_postgres::Row;

use super::Claim;
use crate::connection::seconds;
use crate::row::named;
use crate::{Error, Result, Tenant};

/// A cycle that is ours to run, with what its row says.
#[derive(Clone, Debug)]
pub struct ClaimedCycle {
    /// What every transaction of the cycle is fenced by.
    pub claim: Claim,
    /// The server's profile, as the scheduler counted it.
    pub profile: ProfileId,
    /// Why it was due.
    pub due_reason: DueReason,
    /// How long ago it became due.
    pub waited: Duration,
    /// What the next due time is computed from; `server_failures` is zero here (see `store::health`).
    pub history: History,
    /// Claims of this row that died unfinished, in a row: what makes a cycle careful.
    pub deaths: u32,
    /// Whether the cycles before this one were held back by one of our own parts.
    pub held_back: bool,
}

/// Takes the cycle that a message invites to, from *queued with exactly this number*; `None` when it is anybody
/// else's by now, was switched off, or the session is no longer alive. A wish that came in while it was queued is
/// answered by this cycle.
pub async fn claim(tenant: &Tenant, claim: Claim, session: SessionId) -> Result<Option<ClaimedCycle>> {
    take(tenant, claim, session, false).await
}

/// The same for a claim that was asked for before under this session, without an answer: it may have been granted. Only for who
/// has not begun with it.
pub async fn claim_unheard(
    tenant: &Tenant,
    claim: Claim,
    session: SessionId,
) -> Result<Option<ClaimedCycle>> {
    take(tenant, claim, session, true).await
}

async fn take(
    tenant: &Tenant,
    claim: Claim,
    session: SessionId,
    unheard: bool,
) -> Result<Option<ClaimedCycle>> {
    let row = tenant
        .query_opt(
            "update schedules s set state = 'running', session_id = $4, since = now(), wished_at = null
             where mailbox_id = $1 and workload = $2 and claim = $3
               and (state = 'queued' or $5 and state = 'running' and session_id = $4)
               and exists (select from sessions l
                           where l.id = $4 and l.ended_at is null and l.seen_at + l.dead_after > now())
             returning profile_id, due_reason, quiet_cycles, failures, refusals, deaths, held_since is not null as held_back,
                       greatest(extract(epoch from now() - due_at), 0)::float8 as waited,
                       greatest(extract(epoch from now() - first_refused_at), 0)::float8 as first_refused",
            &[&claim.mailbox.0, &claim.workload.as_str(), &claim.number, &session.0, &unheard],
        )
        .await?;
    row.map(|row| claimed(&row, claim)).transpose()
}

/// What the row of a claim that was granted says.
pub(super) fn claimed(row: &Row, claim: Claim) -> Result<ClaimedCycle> {
    let counter =
        |column: &str| -> Result<u32> { Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0)) };
    let ago = |column: &str| -> Result<Option<Duration>> {
        Ok(row.try_get::<_, Option<f64>>(column)?.map(seconds))
    };
    Ok(ClaimedCycle {
        claim,
        profile: ProfileId(row.try_get("profile_id")?),
        due_reason: named(row, "due_reason")?,
        waited: ago("waited")?.unwrap_or_default(),
        history: History {
            quiet_cycles: counter("quiet_cycles")?,
            failures: counter("failures")?,
            refusals: counter("refusals")?,
            first_refused: ago("first_refused")?,
            server_failures: 0,
        },
        deaths: counter("deaths")?,
        held_back: row.try_get("held_back")?,
    })
}

/// Holds the claim until this transaction ends: the first statement of every transaction of a cycle that writes. Fails as
/// [`Error::Fenced`] when the claim is no longer ours.
pub async fn fence(tenant: &Tenant, claim: Claim) -> Result<()> {
    tenant
        .query_opt(
            "select from schedules
             where mailbox_id = $1 and workload = $2 and claim = $3 and state = 'running' for share",
            &[&claim.mailbox.0, &claim.workload.as_str(), &claim.number],
        )
        .await?
        .map_or(Err(Error::Fenced), |_| Ok(()))
}

/// Whether the claim is ours, for a transaction of a cycle that only reads: it holds nothing, for a lock on a row is a write whose
/// commit waits for the disk. Fails as [`Error::Fenced`] when it is not.
pub async fn ours(tenant: &Tenant, claim: Claim) -> Result<()> {
    tenant
        .query_opt(
            "select from schedules
             where mailbox_id = $1 and workload = $2 and claim = $3 and state = 'running'",
            &[&claim.mailbox.0, &claim.workload.as_str(), &claim.number],
        )
        .await?
        .map_or(Err(Error::Fenced), |_| Ok(()))
}

/// Ends the cycle: idle, due again as `next` says from Postgres's now, and at once when a wish came in since. Fails
/// as [`Error::Fenced`] when the claim is no longer ours. What `next` switches off is the caller's to do, in the
/// same transaction and after this. Gives for how long our own parts have been holding the workload back, if they do.
pub async fn finish(
    tenant: &Tenant,
    claim: Claim,
    outcome: &Outcome,
    next: &Next,
) -> Result<Option<Duration>> {
    let Written { outcome: name, items, proves } = Written::of(outcome);
    let ours = matches!(outcome, Outcome::Failed(failure) if failure.scope == FailureScope::Ours);
    let after = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
    let row = tenant
        .query_opt(
            "update schedules set
                state = 'idle', session_id = null, since = now(),
                due_at = now() + make_interval(secs => $4), due_reason = $5,
                not_before = now() + make_interval(secs => $6),
                not_before_reason = case when $6::float8 is null then null else coalesce($13, $5) end,
                quiet_cycles = $7, failures = $8, refusals = $9,
                first_refused_at = case when $9 = 0 then null else coalesce(first_refused_at, now()) end,
                deaths = case when $10 then 0 else deaths end,
                held_since = case when $14 then coalesce(held_since, now()) end,
                last_outcome = $11, last_items = $12, last_finished_at = now()
             where mailbox_id = $1 and workload = $2 and claim = $3 and state = 'running'
             returning ready_at <= now() and wished_at is not null as wished,
                       extract(epoch from now() - held_since)::float8 as held",
            &[
                &claim.mailbox.0,
                &claim.workload.as_str(),
                &claim.number,
                &after(next.delay),
                &next.reason.as_str(),
                &after(next.not_before),
                &counter(next.quiet_cycles),
                &counter(next.failures),
                &counter(next.refusals),
                &proves,
                &name,
                &items,
                &next.held_by.map(DueReason::as_str),
                &ours,
            ],
        )
        .await?;
    let row = row.ok_or(Error::Fenced)?;
    if row.try_get::<_, Option<bool>>("wished")?.unwrap_or(false) {
        super::poke(tenant).await?;
    }
    Ok(row.try_get::<_, Option<f64>>("held")?.map(seconds))
}

/// What a row keeps of an outcome.
pub(super) struct Written {
    /// Its name.
    pub(super) outcome: String,
    /// Items that changed something.
    pub(super) items: i32,
    /// Whether it says anything about what killed the cycles before it: one that tried nothing does not.
    pub(super) proves: bool,
}

impl Written {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let (name, items) = match outcome {
            Outcome::Done { items, .. } => ("done".to_owned(), i32::try_from(*items).unwrap_or(i32::MAX)),
            Outcome::Snooze { reason, .. } => (format!("snooze:{reason}"), 0),
            Outcome::Failed(failure) => (format!("failed:{}", failure.alert), 0),
        };
        Self { outcome: name, items, proves: !matches!(outcome, Outcome::Snooze { .. }) }
    }
}

/// A counter as its column takes it.
pub(super) fn counter(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

//! A job worker's half: take a job by its number, write down its steps, and end it.

use std::time::Duration;

use model::id::SessionId;
use model::job::{JobKind, JobState, Step};
use serde_json::Value;

use super::Claim;
use crate::row::named;
use crate::{Error, Result, Tenant};

/// A job that is ours to run.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// What it writes under.
    pub claim: Claim,
    /// What it does.
    pub kind: JobKind,
    /// What it is done to.
    pub payload: Value,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// How far an operation over many had come; see [`super::go_on`].
    pub cursor: Option<Value>,
}

/// Takes the job that a message invites to; `None` when it is anybody else's by now or was withdrawn, or the session
/// is no longer alive.
pub async fn claim(tenant: &Tenant, claim: Claim, session: SessionId) -> Result<Option<ClaimedJob>> {
    take(tenant, claim, session, false).await
}

/// The same for a claim that was asked for before under this session, without an answer: it may have been granted, and is no
/// other try then. Only for who has not begun with it.
pub async fn claim_unheard(tenant: &Tenant, claim: Claim, session: SessionId) -> Result<Option<ClaimedJob>> {
    take(tenant, claim, session, true).await
}

async fn take(
    tenant: &Tenant,
    claim: Claim,
    session: SessionId,
    unheard: bool,
) -> Result<Option<ClaimedJob>> {
    let row = tenant
        .query_opt(
            "update jobs set state = 'running', session_id = $3, since = now(), attempts = attempts + (state = 'queued')::int,
                progress = case when cursor is null then '[]' else progress end
             where id = $1 and claim = $2
               and (state = 'queued' or $4 and state = 'running' and session_id = $3)
               and exists (select from sessions l
                           where l.id = $3 and l.ended_at is null and l.seen_at + l.dead_after > now())
             returning kind, payload, attempts, max_attempts, cursor",
            &[&claim.job.0, &claim.number, &session.0, &unheard],
        )
        .await?;
    row.map(|row| {
        Ok(ClaimedJob {
            claim,
            kind: named(&row, "kind")?,
            payload: row.try_get("payload")?,
            attempt: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or(0),
            max_attempts: u32::try_from(row.try_get::<_, i32>("max_attempts")?).unwrap_or(0),
            cursor: row.try_get("cursor")?,
        })
    })
    .transpose()
}

/// Writes down what happened so far: the whole list each time, so that twice leaves the same. Fails as
/// [`Error::Fenced`] when the job was withdrawn or is somebody else's.
pub async fn progress(tenant: &Tenant, claim: Claim, steps: &[Step]) -> Result<()> {
    let steps = serde_json::to_value(steps).map_err(|error| Error::Broken(error.to_string()))?;
    ours(
        tenant
            .execute(
                "update jobs set progress = $3 where id = $1 and claim = $2 and state = 'running'",
                &[&claim.job.0, &claim.number, &steps],
            )
            .await?,
    )
}

/// Ends the job. `succeeded` says how; the result says what came of it, and why and what to do when it failed.
pub async fn finish(tenant: &Tenant, claim: Claim, succeeded: bool, result: &Value) -> Result<()> {
    let state = if succeeded { JobState::Succeeded } else { JobState::Failed };
    ours(
        tenant
            .execute(
                "update jobs set state = $3, session_id = null, since = now(), due_at = null, ended_at = now(),
                    result = $4, last_error = null
                 where id = $1 and claim = $2 and state = 'running'",
                &[&claim.job.0, &claim.number, &state.as_str(), result],
            )
            .await?,
    )
}

/// Holds the job's row until the transaction ends: what a job does to other records it does under this, so that nothing
/// is done any more by one that was withdrawn or is somebody else's ([`Error::Fenced`]).
pub async fn fence(tenant: &Tenant, claim: Claim) -> Result<()> {
    let ours = tenant
        .query_opt(
            "select from jobs where id = $1 and claim = $2 and state = 'running' for share",
            &[&claim.job.0, &claim.number],
        )
        .await?;
    ours.map(drop).ok_or(Error::Fenced)
}

/// How a job is given back.
#[derive(Clone, Copy, Debug)]
pub struct Later<'a> {
    /// After how long it is due again.
    pub delay: Duration,
    /// Whether what happened was a try; a snooze is none.
    pub counts: bool,
    /// Why, when something failed; for people.
    pub error: Option<&'a str>,
}

/// Gives the job back, due again later.
pub async fn retry_later(tenant: &Tenant, claim: Claim, later: Later<'_>) -> Result<()> {
    let Later { delay, counts, error } = later;
    ours(
        tenant
            .execute(
                "update jobs set state = 'waiting', session_id = null, since = now(),
                    due_at = now() + make_interval(secs => $3),
                    attempts = attempts - case when $4 then 0 else 1 end, last_error = $5
                 where id = $1 and claim = $2 and state = 'running'",
                &[&claim.job.0, &claim.number, &delay.as_secs_f64(), &counts, &error],
            )
            .await?,
    )
}

pub(super) fn ours(touched: u64) -> Result<()> {
    if touched == 1 { Ok(()) } else { Err(Error::Fenced) }
}

//! The scheduler's half: due jobs become queued, lost ones become due again.

use model::id::{JobId, OrganizationId};
use model::job::JobKind;
use serde_json::json;

use super::{Claim, Place};
use crate::row::named;
use crate::schedule::SweepTimes;
use crate::schedule::as_seconds;
use crate::{Result, Ring};

/// A job that was queued: publish it once the transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuedJob {
    /// The claim, and whose it is.
    pub place: Place,
    /// What it does.
    pub kind: JobKind,
}

/// Queues due jobs, organizations in turn and the oldest due first, so that no more than `window` are queued or
/// running. The caller commits before it publishes.
pub async fn claim_due(ring: &Ring, batch: u32, window: u32) -> Result<Vec<QueuedJob>> {
    // As with cycles: one scan at a time, so that the count of what is in flight is true.
    ring.execute(
        "select pg_advisory_xact_lock(1279414347, 4), set_config('idle_in_transaction_session_timeout', '5s', true)",
        &[],
    )
    .await?;
    // A chain of waiting jobs falls one by one.
    while settle(ring).await? > 0 {}
    let rows = ring
        .query(
            "with due as (
                select organization_id, id, due_at,
                       row_number() over (partition by organization_id order by due_at) as turn
                from jobs where state = 'waiting' and not held and due_at <= now()
            ), first as (
                select organization_id, id from due order by turn, due_at
                limit least($1::bigint, greatest($2::bigint - (
                    select count(*) from jobs f where f.state in ('queued', 'running')), 0))
            ), chosen as (
                select j.organization_id, j.id
                from first f join jobs j on j.organization_id = f.organization_id and j.id = f.id
                where j.state = 'waiting' and not j.held
                for update of j skip locked
            )
            update jobs j set state = 'queued', claim = j.claim + 1, since = now()
            from chosen c where j.organization_id = c.organization_id and j.id = c.id
            returning j.organization_id, j.id, j.claim, j.kind",
            &[&i64::from(batch), &i64::from(window)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let claim = Claim { job: JobId(row.try_get("id")?), number: row.try_get("claim")? };
            let place = Place { organization: OrganizationId(row.try_get("organization_id")?), claim };
            Ok(QueuedJob { place, kind: named(row, "kind")? })
        })
        .collect()
}

/// Lets go of jobs whose wait is over: they are due at their time, or fail with the reason when the job that they waited
/// for did not succeed. It looks at the jobs as they are, so that it does not matter how the other one ended, or who died.
async fn settle(ring: &Ring) -> Result<u64> {
    let reason = |cause: &str, remedy: &str| json!({"error": cause, "remedy": remedy});
    let failed = reason(
        "the job that this one waited for failed",
        "see why with `lockstep job show`; ask for that one again, then for this one",
    );
    let canceled = reason(
        "the job that this one waited for was canceled",
        "ask for that one again with `lockstep job retry`, then for this one",
    );
    let gone = reason("the job that this one waited for is gone", "ask for this one anew, without waiting");
    ring.execute(
        "with over as (
            select j.organization_id, j.id, coalesce(a.state, 'gone') as became
            from jobs j left join jobs a on a.organization_id = j.organization_id and a.id = j.after_id
            where j.state = 'waiting' and j.held
              and (a.id is null or a.state in ('succeeded', 'failed', 'canceled'))
            for update of j skip locked
        )
        update jobs j set held = became <> 'succeeded', since = now(),
            state = case when became = 'succeeded' then 'waiting' else 'failed' end,
            due_at = case when became = 'succeeded' then j.due_at end,
            ended_at = case when became <> 'succeeded' then now() end,
            result = case became when 'failed' then $1::jsonb when 'canceled' then $2::jsonb when 'gone' then $3::jsonb end
        from over where j.organization_id = over.organization_id and j.id = over.id",
        &[&failed, &canceled, &gone],
    )
    .await
}

/// Takes back what was queued and whose message was nacked, returned or never confirmed.
pub async fn unpublish(ring: &Ring, places: &[Place]) -> Result<u64> {
    let organizations: Vec<_> = places.iter().map(|place| place.organization.0).collect();
    let jobs: Vec<_> = places.iter().map(|place| place.claim.job.0).collect();
    let numbers: Vec<_> = places.iter().map(|place| place.claim.number).collect();
    ring.execute(
        "update jobs j set state = 'waiting', since = now(), due_at = now()
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as u(organization, job, number)
         where j.organization_id = u.organization and j.id = u.job and j.claim = u.number and j.state = 'queued'",
        &[&organizations, &jobs, &numbers],
    )
    .await
}

/// Makes due now what was queued for a queue that the broker no longer has.
pub async fn queue_lost(ring: &Ring) -> Result<u64> {
    ring.execute(
        "update jobs set state = 'waiting', since = now(), due_at = now() where state = 'queued'",
        &[],
    )
    .await
}

/// Makes due again what nobody works on any more; fails what died at its last try.
pub(crate) async fn sweep(ring: &Ring, times: &SweepTimes) -> Result<u64> {
    let died = json!({
        "error": "the process that ran this job died or ran out of time, at each of its tries",
        "remedy": "look at the log of the job workers, then ask for the job again",
    });
    ring.execute(
        "with lost as (
            select j.organization_id, j.id, j.state = 'running' and j.attempts >= j.max_attempts as at_its_end from jobs j
            where (j.state = 'running'
                   and (j.since < now() - make_interval(secs => $1)
                        or not exists (select from sessions l where l.id = j.session_id and l.ended_at is null)))
               or (j.state = 'queued' and j.since < now() - make_interval(secs => $2))
            for update skip locked
        )
        update jobs j set session_id = null, since = now(),
            state = case when at_its_end then 'failed' else 'waiting' end,
            due_at = case when at_its_end then null else now() end,
            ended_at = case when at_its_end then now() end,
            result = case when at_its_end then $3::jsonb end
        from lost where j.organization_id = lost.organization_id and j.id = lost.id",
        &[&as_seconds(times.job_seconds), &as_seconds(times.queued_seconds), &died],
    )
    .await
}

//! Operations over many: a job that goes on batch by batch, and the jobs it starts. How far it came is committed with what
//! was done, so that a batch is never done twice and none is left out, whoever takes the job up.

use model::id::JobId;
use model::job::Step;
use serde_json::Value;

use super::run::ours;
use super::{Claim, NewJob};
use crate::change::{Author, Change, Fields};
use crate::{Error, Result, Tenant, change, schedule};

/// How the jobs that a job started stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Children {
    /// Not ended yet.
    pub under_way: i64,
    /// Ended as wished.
    pub succeeded: i64,
    /// Ended otherwise, or withdrawn.
    pub failed: i64,
}

/// A job that was started by another and did not succeed.
#[derive(Clone, Debug)]
pub struct Unhappy {
    /// Which.
    pub id: JobId,
    /// What it was done to.
    pub payload: Value,
    /// What came of it; none when it was withdrawn.
    pub result: Option<Value>,
}

/// Writes how far the job came, with the caller's transaction. Fails as [`Error::Fenced`] when it was withdrawn or is
/// somebody else's; until the transaction ends nobody can withdraw it.
pub async fn go_on(tenant: &Tenant, claim: Claim, cursor: &Value, steps: &[Step]) -> Result<()> {
    let steps = serde_json::to_value(steps).map_err(|error| Error::Broken(error.to_string()))?;
    ours(
        tenant
            .execute(
                "update jobs set cursor = $3, progress = $4 where id = $1 and claim = $2 and state = 'running'",
                &[&claim.job.0, &claim.number, cursor, &steps],
            )
            .await?,
    )
}

/// Asks for jobs of one kind, due now, on behalf of another.
pub async fn create_all(tenant: &Tenant, parent: JobId, jobs: &[NewJob], by: &Author) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let ids: Vec<JobId> = jobs.iter().map(|_| model::clock::new_id()).collect();
    let keys: Vec<_> = ids.iter().map(|id| id.0).collect();
    let kinds: Vec<_> = jobs.iter().map(|job| job.kind.as_str()).collect();
    let payloads: Vec<_> = jobs.iter().map(|job| &job.payload).collect();
    let tries: Vec<_> = jobs.iter().map(|job| i32::try_from(job.max_attempts).unwrap_or(i32::MAX)).collect();
    tenant
        .execute(
            "insert into jobs (organization_id, id, kind, payload, max_attempts, created_by, due_at, parent_id)
             select current_organization(), i, k, p, t, $5, now(), $6
             from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::integer[]) as u(i, k, p, t)",
            &[&keys, &kinds, &payloads, &tries, &by.name(), &parent.0],
        )
        .await?;
    let changes: Vec<_> = ids
        .iter()
        .zip(jobs)
        .map(|(id, job)| {
            let fields = Fields::new().set("kind", job.kind).set("payload", &job.payload);
            Change { record_type: "job", id: id.0, version: 1, by, fields }
        })
        .collect();
    change::write_all(tenant, &changes).await?;
    schedule::poke(tenant).await
}

/// How the jobs stand that this one started.
pub async fn children(tenant: &Tenant, parent: JobId) -> Result<Children> {
    let row = tenant
        .query_one(
            "select count(*) filter (where state in ('waiting', 'queued', 'running')) as under_way,
                    count(*) filter (where state = 'succeeded') as succeeded,
                    count(*) filter (where state in ('failed', 'canceled')) as failed
             from jobs where parent_id = $1",
            &[&parent.0],
        )
        .await?;
    Ok(Children {
        under_way: row.try_get("under_way")?,
        succeeded: row.try_get("succeeded")?,
        failed: row.try_get("failed")?,
    })
}

/// The first of the jobs that this one started and that did not succeed.
pub async fn unhappy(tenant: &Tenant, parent: JobId, most: i64) -> Result<Vec<Unhappy>> {
    let rows = tenant
        .query(
            "select id, payload, result from jobs where parent_id = $1 and state in ('failed', 'canceled')
             order by id limit $2",
            &[&parent.0, &most],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Unhappy {
                id: JobId(row.try_get("id")?),
                payload: row.try_get("payload")?,
                result: row.try_get("result")?,
            })
        })
        .collect()
}

//! What people do with async operations: ask for one, look, withdraw, ask again.

use std::time::Duration;

use model::id::{JobId, JobScheduleId};
use model::job::{JobKind, JobState};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Job, NewJob};
use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::row::{named, narrow};
use crate::{Error, Result, Tenant, change, schedule};

/// Asks for an async operation that is due after `delay`, and tells the scheduler. Refused when it would wait for a job
/// that did not succeed.
pub async fn create(tenant: &Tenant, job: &NewJob, by: &Author, delay: Duration) -> Result<JobId> {
    ask(tenant, job, None, by, delay).await
}

/// The same on behalf of a schedule.
pub(crate) async fn ask(
    tenant: &Tenant,
    job: &NewJob,
    schedule: Option<JobScheduleId>,
    by: &Author,
    delay: Duration,
) -> Result<JobId> {
    let held = match job.after {
        Some(after) => has_to_wait(tenant, after).await?,
        None => false,
    };
    let id: JobId = model::clock::new_id();
    tenant
        .execute(
            "insert into jobs (organization_id, id, kind, payload, max_attempts, created_by, due_at, after_id, held,
                               schedule_id)
             values (current_organization(), $1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7, $8, $9)",
            &[
                &id.0,
                &job.kind.as_str(),
                &job.payload,
                &i32::try_from(job.max_attempts).unwrap_or(i32::MAX),
                &by.name(),
                &delay.as_secs_f64(),
                &job.after.map(|after| after.0),
                &held,
                &schedule.map(|schedule| schedule.0),
            ],
        )
        .await?;
    let fields = Fields::new().set("kind", job.kind).set("payload", &job.payload);
    let fields = match job.after {
        Some(after) => fields.set("after", after),
        None => fields,
    };
    change::write(tenant, Change { record_type: "job", id: id.0, version: 1, by, fields }).await?;
    schedule::poke(tenant).await?;
    Ok(id)
}

/// Whether a job that is to come after this one must wait for it; locked, so that it is not cleaned up meanwhile.
async fn has_to_wait(tenant: &Tenant, after: JobId) -> Result<bool> {
    let row = tenant
        .query_opt("select state from jobs where id = $1 for share", &[&after.0])
        .await?
        .ok_or(Refusal::Unknown { what: "job", field: "after" })?;
    match named(&row, "state")? {
        JobState::Succeeded => Ok(false),
        JobState::Waiting | JobState::Queued | JobState::Running => Ok(true),
        ended @ (JobState::Failed | JobState::Canceled) => {
            let cause = format!("the job that this one would wait for has {ended}");
            let remedy = "ask for that one again first (`lockstep job retry`), or leave `after` out";
            Err(Refusal::invalid("after", cause, remedy).into())
        }
    }
}

/// Withdraws a job that has not ended, with what it started; one that runs stops at its next step. Says whether there was such a job.
pub async fn cancel(tenant: &Tenant, job: JobId, by: &Author) -> Result<bool> {
    let withdrawn = tenant
        .query_opt(
            "update jobs set state = 'canceled', claim = claim + 1, session_id = null, since = now(), due_at = null,
                ended_at = now()
             where id = $1 and state in ('waiting', 'queued', 'running') returning claim",
            &[&job.0],
        )
        .await?;
    let Some(row) = withdrawn else { return Ok(false) };
    cancel_children(tenant, job).await?;
    let fields = Fields::new().changed("canceled", &false, &true);
    let version = 1 + row.try_get::<_, i64>(0)?;
    change::write(tenant, Change { record_type: "job", id: job.0, version, by, fields }).await?;
    Ok(true)
}

async fn cancel_children(tenant: &Tenant, job: JobId) -> Result<()> {
    tenant
        .execute(
            "update jobs set state = 'canceled', claim = claim + 1, session_id = null, since = now(), due_at = null,
                ended_at = now()
             where parent_id = $1 and state in ('waiting', 'queued', 'running')",
            &[&job.0],
        )
        .await?;
    Ok(())
}

/// Asks again for a job that failed or was withdrawn: it begins anew, with all of its tries, and waits again for the job
/// that it was still waiting for. Says whether there was such a job.
pub async fn retry(tenant: &Tenant, job: JobId, by: &Author) -> Result<bool> {
    let asked = tenant
        .query_opt(
            "update jobs set state = 'waiting', claim = claim + 1, since = now(), due_at = now(), ended_at = null,
                attempts = 0, progress = '[]', cursor = null, result = null, last_error = null
             where id = $1 and state in ('failed', 'canceled') returning claim",
            &[&job.0],
        )
        .await?;
    let Some(row) = asked else { return Ok(false) };
    // It counts what it starts from now on, and nothing that it started before.
    cancel_children(tenant, job).await?;
    tenant.execute("update jobs set parent_id = null where parent_id = $1", &[&job.0]).await?;
    let fields = Fields::new().changed("asked_again", &false, &true);
    let version = 1 + row.try_get::<_, i64>(0)?;
    change::write(tenant, Change { record_type: "job", id: job.0, version, by, fields }).await?;
    schedule::poke(tenant).await?;
    Ok(true)
}

/// One job.
pub async fn get(tenant: &Tenant, job: JobId) -> Result<Option<Job>> {
    let row = tenant
        .query_opt(
            "select id, kind, payload, state, attempts, max_attempts, progress, result, last_error, due_at, after_id,
                    held and state = 'waiting' as held, schedule_id, created_by, created_at, ended_at
             from jobs where id = $1",
            &[&job.0],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Page {
    /// Of one kind only.
    pub kind: Option<JobKind>,
    /// In one state only.
    pub state: Option<JobState>,
    /// That one schedule asked for.
    pub schedule: Option<JobScheduleId>,
    /// Older than this one, which was the last of the page before.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: usize,
}

/// Jobs, the newest first.
pub async fn list(tenant: &Tenant, page: &Page) -> Result<Vec<Job>> {
    let rows = tenant
        .query(
            "select id, kind, payload, state, attempts, max_attempts, progress, result, last_error, due_at, after_id,
                    held and state = 'waiting' as held, schedule_id, created_by, created_at, ended_at
             from jobs
             where ($1::text is null or kind = $1) and ($2::uuid is null or id < $2)
               and ($3::text is null or state = $3) and ($4::uuid is null or schedule_id = $4)
             order by id desc limit $5",
            &[
                &page.kind.map(JobKind::as_str),
                &page.before.map(|job| job.0),
                &page.state.map(JobState::as_str),
                &page.schedule.map(|schedule| schedule.0),
                &i64::from(narrow(page.limit)),
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Job> {
    Ok(Job {
        id: JobId(row.try_get("id")?),
        kind: named(row, "kind")?,
        payload: row.try_get("payload")?,
        state: named(row, "state")?,
        attempts: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or(0),
        max_attempts: u32::try_from(row.try_get::<_, i32>("max_attempts")?).unwrap_or(0),
        last_error: row.try_get("last_error")?,
        due_at: row.try_get("due_at")?,
        after: row.try_get::<_, Option<Uuid>>("after_id")?.map(JobId),
        held: row.try_get("held")?,
        schedule: row.try_get::<_, Option<Uuid>>("schedule_id")?.map(JobScheduleId),
        progress: serde_json::from_value(row.try_get("progress")?)
            .map_err(|error| Error::Broken(format!("jobs.progress: {error}")))?,
        result: row.try_get("result")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

//! What people do with async operations: ask for one, look, withdraw.

use std::time::Duration;

use model::id::JobId;
use model::job::JobKind;
use tokio_postgres::Row;

use super::{Job, NewJob};
use crate::change::{Author, Change, Fields};
use crate::row::{named, narrow};
use crate::{Error, Result, Tenant, change, schedule};

/// Asks for an async operation that is due after `delay`, and tells the scheduler.
pub async fn create(tenant: &Tenant, job: &NewJob, by: &Author, delay: Duration) -> Result<JobId> {
    let id: JobId = model::clock::new_id();
    tenant
        .execute(
            "insert into jobs (organization_id, id, kind, payload, max_attempts, created_by, due_at)
             values (current_organization(), $1, $2, $3, $4, $5, now() + make_interval(secs => $6))",
            &[
                &id.0,
                &job.kind.as_str(),
                &job.payload,
                &i32::try_from(job.max_attempts).unwrap_or(i32::MAX),
                &by.name(),
                &delay.as_secs_f64(),
            ],
        )
        .await?;
    let fields = Fields::new().set("kind", job.kind).set("payload", &job.payload);
    change::write(tenant, Change { record_type: "job", id: id.0, version: 1, by, fields }).await?;
    schedule::poke(tenant).await?;
    Ok(id)
}

/// Withdraws a job that has not ended, with what it started; one that runs stops at its next step. Says whether there was such a job.
pub async fn cancel(tenant: &Tenant, job: JobId, by: &Author) -> Result<bool> {
    let touched = tenant
        .execute(
            "update jobs set state = 'canceled', claim = claim + 1, session_id = null, since = now(), due_at = null,
                ended_at = now()
             where id = $1 and state in ('waiting', 'queued', 'running')",
            &[&job.0],
        )
        .await?;
    if touched > 0 {
        tenant
            .execute(
                "update jobs set state = 'canceled', claim = claim + 1, session_id = null, since = now(), due_at = null,
                    ended_at = now()
                 where parent_id = $1 and state in ('waiting', 'queued', 'running')",
                &[&job.0],
            )
            .await?;
        let fields = Fields::new().changed("canceled", &false, &true);
        change::write(tenant, Change { record_type: "job", id: job.0, version: 2, by, fields }).await?;
    }
    Ok(touched > 0)
}

/// One job.
pub async fn get(tenant: &Tenant, job: JobId) -> Result<Option<Job>> {
    let row = tenant
        .query_opt(
            "select id, kind, payload, state, attempts, progress, result, created_by, created_at, ended_at
             from jobs where id = $1",
            &[&job.0],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Of one kind only.
    pub kind: Option<JobKind>,
    /// Older than this one, which was the last of the page before.
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: usize,
}

/// Jobs, the newest first.
pub async fn list(tenant: &Tenant, page: &Page) -> Result<Vec<Job>> {
    let rows = tenant
        .query(
            "select id, kind, payload, state, attempts, progress, result, created_by, created_at, ended_at
             from jobs
             where ($1::text is null or kind = $1) and ($2::uuid is null or id < $2)
             order by id desc limit $3",
            &[&page.kind.map(JobKind::as_str), &page.before.map(|job| job.0), &i64::from(narrow(page.limit))],
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
        progress: serde_json::from_value(row.try_get("progress")?)
            .map_err(|error| Error::Broken(format!("jobs.progress: {error}")))?,
        result: row.try_get("result")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

//! The scheduler's half: whose time has come, and asking for the job.

use std::time::Duration;

use jiff::Timestamp;
use model::actor::Actor;
use model::id::{JobId, JobScheduleId, OrganizationId};
use model::job::{JobKind, TRIES};

use super::{When, when};
use crate::change::Author;
use crate::job::{self, NewJob};
use crate::row::named;
use crate::{Result, Ring, Tenant};

/// A schedule whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub organization: OrganizationId,
    /// Which.
    pub schedule: JobScheduleId,
}

/// What came of a schedule's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// A job was asked for.
    Asked(JobId),
    /// The job of an earlier time has not ended and stands for this time as well.
    StillThere(JobId),
}

/// The schedules whose time has come, the longest first.
pub async fn due(ring: &Ring, most: i64) -> Result<Vec<Due>> {
    let rows = ring
        .query(
            "select organization_id, id from job_schedules where not paused and due_at <= now() order by due_at limit $1",
            &[&most],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                organization: OrganizationId(row.try_get(0)?),
                schedule: JobScheduleId(row.try_get(1)?),
            })
        })
        .collect()
}

/// Asks for the job of a schedule whose time has come, and says when the next one is: after now, however many times have
/// passed. `None` when its time has not come: another scheduler was there, or a person paused or removed it.
pub async fn fire(tenant: &Tenant, id: JobScheduleId) -> Result<Option<Fired>> {
    let row = tenant
        .query_opt(
            "select kind, payload, cron, zone, once_at, last_job_id, now() as at,
                    exists (select from jobs j where j.organization_id = s.organization_id and j.id = s.last_job_id
                                and j.state in ('waiting', 'queued', 'running')) as still_there
             from job_schedules s where id = $1 and not paused and due_at <= now() for update of s skip locked",
            &[&id.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let at: Timestamp = row.try_get("at")?;
    let next = match when(&row)? {
        When::Once(_) => None,
        // One that was fine and no longer is, as a zone that was taken out of the database, is not due again.
        when @ When::Cron { .. } => when.first(at).unwrap_or_default(),
    };
    let last: Option<uuid::Uuid> = row.try_get("last_job_id")?;
    let fired = match last {
        Some(last) if row.try_get("still_there")? => Fired::StillThere(JobId(last)),
        _ => {
            let kind: JobKind = named(&row, "kind")?;
            let new = NewJob { kind, payload: row.try_get("payload")?, max_attempts: TRIES, after: None };
            let by = Author::new(Actor::Schedule { id }, "schedule");
            Fired::Asked(job::ask(tenant, &new, Some(id), &by, Duration::ZERO).await?)
        }
    };
    let (Fired::Asked(job) | Fired::StillThere(job)) = fired;
    tenant
        .execute(
            "update job_schedules set due_at = $2, last_job_id = $3, last_at = now() where id = $1",
            &[&id.0, &next, &job.0],
        )
        .await?;
    Ok(Some(fired))
}

//! Schedules of async operations: when a job is asked for by itself, once or again and again. One job per due time, whatever
//! number of schedulers look; one alone for all the times that passed while nobody did. The time is Postgres's.

use jiff::Timestamp;
use model::id::{JobId, JobScheduleId};
use model::job::{Cron, JobKind};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_line, check_time, check_version};
use crate::row::named;
use crate::{Error, Result, Tenant, change, job, schedule};

mod fire;

pub use fire::{Due, Fired, due, fire};

/// When a schedule is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Once, at this time; at once when it has passed.
    Once(Timestamp),
    /// At the times of a pattern.
    Cron {
        /// Minute, hour, day of the month, month, day of the week; or such as `@daily`.
        pattern: String,
        /// The zone of the IANA's database that they are read in.
        zone: String,
    },
}

impl When {
    fn columns(&self) -> (Option<&str>, Option<&str>, Option<Timestamp>) {
        match self {
            Self::Once(at) => (None, None, Some(*at)),
            Self::Cron { pattern, zone } => (Some(pattern), Some(zone), None),
        }
    }

    /// The first time after `now`; of what is for once its time, whenever it is.
    fn first(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        match self {
            Self::Once(at) => Ok(Some(*at)),
            Self::Cron { pattern, zone } => {
                let cron = Cron::read(pattern, zone, now)
                    .map_err(|refused| Refusal::invalid(refused.field, refused.cause, refused.remedy))?;
                Ok(cron.next(now))
            }
        }
    }
}

/// What a schedule is to be.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// Its name, unique in the organization.
    pub name: String,
    /// What its jobs do.
    pub kind: JobKind,
    /// What they are done to.
    pub payload: Value,
    /// When.
    pub when: When,
}

/// A schedule as people see it.
#[derive(Clone, Debug)]
pub struct JobSchedule {
    /// Which.
    pub id: JobScheduleId,
    /// Its name.
    pub name: String,
    /// What its jobs do.
    pub kind: JobKind,
    /// What they are done to.
    pub payload: Value,
    /// When.
    pub when: When,
    /// Whether it asks for nothing until a person resumes it.
    pub paused: bool,
    /// When the next job is asked for; none while it is paused, and when there is no next time.
    pub next_at: Option<Timestamp>,
    /// The last job that it asked for; it may have been cleaned up since.
    pub last_job: Option<JobId>,
    /// When that was.
    pub last_at: Option<Timestamp>,
    /// Another one after each change that a person makes.
    pub version: i64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
}

/// Makes a schedule.
pub async fn create(tenant: &Tenant, new: &NewSchedule, by: &Author) -> Result<JobScheduleId> {
    check_line("name", &new.name, 1, 100)?;
    if let When::Once(at) = new.when {
        check_time("at", Some(at))?;
    }
    let payload = job::checked(tenant, new.kind, &new.payload).await?;
    let due = new.when.first(now(tenant).await?)?;
    let id: JobScheduleId = model::clock::new_id();
    let (cron, zone, once_at) = new.when.columns();
    let made = tenant
        .execute(
            "insert into job_schedules (organization_id, id, name, kind, payload, cron, zone, once_at, due_at, created_by)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9)
             on conflict (organization_id, lower(name)) do nothing",
            &[&id.0, &new.name, &new.kind.as_str(), &payload, &cron, &zone, &once_at, &due, &by.name()],
        )
        .await?;
    if made == 0 {
        return Err(Refusal::Taken { what: "schedule", field: "name" }.into());
    }
    let fields = Fields::new().set("name", &new.name).set("kind", new.kind).set("payload", &payload);
    let fields = match &new.when {
        When::Once(at) => fields.set("at", at),
        When::Cron { pattern, zone } => fields.set("cron", pattern).set("zone", zone),
    };
    change::write(tenant, Change { record_type: "schedule", id: id.0, version: 1, by, fields }).await?;
    schedule::poke(tenant).await?;
    Ok(id)
}

/// The schedule that every organization begins with: once a night it cleans up, at a minute that is its own.
pub(crate) async fn create_first(tenant: &Tenant, by: &Author) -> Result<JobScheduleId> {
    let minute = tenant.organization().0.as_bytes()[15] % 60;
    let new = NewSchedule {
        name: "clean-up".to_owned(),
        kind: JobKind::CleanUp,
        payload: serde_json::json!({}),
        when: When::Cron { pattern: format!("{minute} 3 * * *"), zone: "UTC".to_owned() },
    };
    create(tenant, &new, by).await
}

async fn now(tenant: &Tenant) -> Result<Timestamp> {
    Ok(tenant.query_one("select now()", &[]).await?.try_get(0)?)
}

/// One schedule.
pub async fn get(tenant: &Tenant, id: JobScheduleId) -> Result<Option<JobSchedule>> {
    let row = tenant
        .query_opt(
            "select id, name, kind, payload, cron, zone, once_at, paused, due_at, last_job_id, last_at, version,
                    created_by, created_at
             from job_schedules where id = $1",
            &[&id.0],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Schedules, the newest first, after the one that a page ended with; of one name only, whatever its case.
pub async fn list(
    tenant: &Tenant,
    name: Option<&str>,
    before: Option<JobScheduleId>,
    limit: i64,
) -> Result<Vec<JobSchedule>> {
    let rows = tenant
        .query(
            "select id, name, kind, payload, cron, zone, once_at, paused, due_at, last_job_id, last_at, version,
                    created_by, created_at
             from job_schedules
             where ($1::uuid is null or id < $1) and ($2::text is null or lower(name) = lower($2))
             order by id desc limit $3",
            &[&before.map(|id| id.0), &name, &limit],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Pauses a schedule, or resumes it: then the next time counts, and those that passed meanwhile do not; what is for once and
/// was due meanwhile is due at once. Doing it again changes nothing. `expected` is the version that the caller read.
pub async fn set_paused(
    tenant: &Tenant,
    id: JobScheduleId,
    paused: bool,
    expected: Option<i64>,
    by: &Author,
) -> Result<()> {
    let before = locked(tenant, id, expected).await?;
    if before.paused == paused {
        return Ok(());
    }
    let due = match &before.when {
        When::Once(_) if before.last_at.is_some() => None,
        when => when.first(now(tenant).await?)?,
    };
    let row = tenant
        .query_one(
            "update job_schedules set paused = $2, due_at = $3, version = version + 1 where id = $1 returning version",
            &[&id.0, &paused, &due],
        )
        .await?;
    let fields = Fields::new().changed("paused", &before.paused, &paused);
    let version = row.try_get(0)?;
    change::write(tenant, Change { record_type: "schedule", id: id.0, version, by, fields }).await?;
    schedule::poke(tenant).await
}

/// Removes a schedule; the jobs that it asked for stay.
pub async fn delete(tenant: &Tenant, id: JobScheduleId, expected: Option<i64>, by: &Author) -> Result<()> {
    let before = locked(tenant, id, expected).await?;
    tenant.execute("delete from job_schedules where id = $1", &[&id.0]).await?;
    let fields = Fields::new()
        .changed("name", &Some(before.name), &None)
        .changed("kind", &Some(before.kind), &None)
        .changed("deleted", &false, &true);
    let version = before.version + 1;
    change::write(tenant, Change { record_type: "schedule", id: id.0, version, by, fields }).await
}

async fn locked(tenant: &Tenant, id: JobScheduleId, expected: Option<i64>) -> Result<JobSchedule> {
    let row = tenant
        .query_opt(
            "select id, name, kind, payload, cron, zone, once_at, paused, due_at, last_job_id, last_at, version,
                    created_by, created_at
             from job_schedules where id = $1 for update",
            &[&id.0],
        )
        .await?
        .ok_or(Refusal::Unknown { what: "schedule", field: "id" })?;
    let schedule = read(&row)?;
    check_version("schedule", expected, schedule.version)?;
    Ok(schedule)
}

fn read(row: &Row) -> Result<JobSchedule> {
    let paused = row.try_get("paused")?;
    let due: Option<Timestamp> = row.try_get("due_at")?;
    Ok(JobSchedule {
        id: JobScheduleId(row.try_get("id")?),
        name: row.try_get("name")?,
        kind: named(row, "kind")?,
        payload: row.try_get("payload")?,
        when: when(row)?,
        paused,
        next_at: due.filter(|_| !paused),
        last_job: row.try_get::<_, Option<Uuid>>("last_job_id")?.map(JobId),
        last_at: row.try_get("last_at")?,
        version: row.try_get("version")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
    })
}

fn when(row: &Row) -> Result<When> {
    let cron = row.try_get::<_, Option<String>>("cron")?.zip(row.try_get("zone")?);
    match (cron, row.try_get("once_at")?) {
        (Some((pattern, zone)), None) => Ok(When::Cron { pattern, zone }),
        (None, Some(at)) => Ok(When::Once(at)),
        _ => Err(Error::Broken("a schedule is neither for once nor for a pattern".to_owned())),
    }
}

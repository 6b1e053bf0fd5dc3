//! Schedules of async operations: what is asked for by itself, when, and what came of it last.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::id::JobScheduleId;
use model::job::JobKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::job_schedule::{self, JobSchedule, NewSchedule, When};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::jobs::nothing;
use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::schema;
use crate::transaction::Transaction;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// A schedule of async operations. Each due time asks for one job; a time that comes while the job of an earlier one has not
/// ended asks for no other, and of times that passed while nothing ran only one is made up for.
#[derive(Serialize, ToSchema)]
struct Schedule {
    /// Which.
    id: Uuid,
    /// Its name, unique in the organization.
    name: String,
    /// What its jobs do.
    #[schema(value_type = schema::JobKind)]
    kind: JobKind,
    /// What they are done to.
    #[schema(value_type = Object)]
    payload: Value,
    /// Minute, hour, day of the month, month and day of the week; none when it is for once.
    cron: Option<String>,
    /// The time zone that they are read in.
    zone: Option<String>,
    /// When, of what is for once.
    at: Option<Timestamp>,
    /// Whether it asks for nothing until it is resumed.
    paused: bool,
    /// When the next job is asked for; none while it is paused, and when there is no next time.
    next_at: Option<Timestamp>,
    /// The last job that it asked for; it may have been cleaned up since.
    last_job: Option<Uuid>,
    /// When its time came last.
    last_at: Option<Timestamp>,
    /// Who made it, such as `user:…`.
    created_by: String,
    /// When.
    created_at: Timestamp,
    /// Another one after each change that a person makes; the `ETag`.
    version: i64,
}

impl From<JobSchedule> for Schedule {
    fn from(schedule: JobSchedule) -> Self {
        let (cron, zone, at) = match schedule.when {
            When::Once(at) => (None, None, Some(at)),
            When::Cron { pattern, zone } => (Some(pattern), Some(zone), None),
        };
        Self {
            id: schedule.id.0,
            name: schedule.name,
            kind: schedule.kind,
            payload: schedule.payload,
            cron,
            zone,
            at,
            paused: schedule.paused,
            next_at: schedule.next_at,
            last_job: schedule.last_job.map(|job| job.0),
            last_at: schedule.last_at,
            created_by: schedule.created_by,
            created_at: schedule.created_at,
            version: schedule.version,
        }
    }
}

/// Which schedules.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ScheduleQuery {
    /// Of this name, whatever its case.
    name: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Schedules of async operations, the newest first.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules", security(("key" = ["oversee"])),
    params(ScheduleQuery), responses((status = 200, body = Page<Schedule>))
)]
async fn list(caller: Caller, Query(query): Query<ScheduleQuery>) -> Result<Json<Page<Schedule>>, Problem> {
    let wanted = Wanted::<JobScheduleId>::new("schedules", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let schedules = job_schedule::list(&tenant, query.name.as_deref(), wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(schedules, |schedule| schedule.id.to_string(), Schedule::from)))
}

/// A schedule to make: `cron` and `zone`, or `at`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ScheduleToCreate {
    /// Its name, unique in the organization.
    name: String,
    /// What its jobs do.
    #[schema(value_type = schema::JobKind)]
    kind: JobKind,
    /// What they are done to, as for `POST /jobs`; `{}` when left out.
    #[serde(default = "nothing")]
    #[schema(value_type = Option<Object>)]
    payload: Value,
    /// Minute, hour, day of the month, month and day of the week, such as `30 3 * * 1-5`; or `@hourly`, `@daily`, `@weekly`,
    /// `@monthly`. A time of the day that the zone's clock passes over comes right after the gap; one that it shows twice
    /// comes once.
    cron: Option<String>,
    /// The time zone that `cron` is read in, by its name in the IANA's database, such as `Europe/Berlin`; `UTC` when left out.
    zone: Option<String>,
    /// For once: when; at once when that time has passed.
    at: Option<Timestamp>,
}

/// Make a schedule: its jobs are asked for by themselves.
#[utoipa::path(
    post, path = "/schedules", tag = "schedules", security(("key" = ["administer"])),
    request_body = ScheduleToCreate, responses((status = 201, body = Schedule))
)]
async fn create(
    caller: Caller,
    Json(wanted): Json<ScheduleToCreate>,
) -> Result<(StatusCode, Versioned<Json<Schedule>>), Problem> {
    let when = match (wanted.cron, wanted.zone, wanted.at) {
        (Some(pattern), zone, None) => When::Cron { pattern, zone: zone.unwrap_or_else(|| "UTC".to_owned()) },
        (None, None, Some(at)) => When::Once(at),
        (None, Some(_), Some(_)) => {
            return Err(Problem::invalid("zone", "`at` names its zone itself", "leave `zone` out"));
        }
        _ => {
            return Err(Problem::invalid(
                "cron",
                "a schedule is either for the times of `cron` or for once, `at` a time",
                "give one of `cron` and `at`",
            ));
        }
    };
    let new = NewSchedule { name: wanted.name, kind: wanted.kind, payload: wanted.payload, when };
    let tenant = caller.begin().await?;
    let id = job_schedule::create(&tenant, &new, caller.author()).await?;
    Ok((StatusCode::CREATED, shown(tenant, id).await?))
}

async fn shown(tenant: Transaction, id: JobScheduleId) -> Result<Versioned<Json<Schedule>>, Problem> {
    let schedule = job_schedule::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("schedule"))?;
    tenant.commit().await?;
    Ok(Versioned(schedule.version, Json(schedule.into())))
}

/// One schedule, with its next time.
#[utoipa::path(
    get, path = "/schedules/{id}", tag = "schedules", security(("key" = ["oversee"])),
    params(("id" = Uuid, Path, description = "The schedule")), responses((status = 200, body = Schedule))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Schedule>>, Problem> {
    shown(caller.begin().await?, JobScheduleId(id)).await
}

/// Remove a schedule; the jobs that it asked for stay.
#[utoipa::path(
    delete, path = "/schedules/{id}", tag = "schedules", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The schedule"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "It is gone"))
)]
async fn delete(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    job_schedule::delete(&tenant, JobScheduleId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a schedule: it asks for nothing until it is resumed. What it has asked for goes on.
#[utoipa::path(
    post, path = "/schedules/{id}/pause", tag = "schedules", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The schedule"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Schedule))
)]
async fn pause(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Versioned<Json<Schedule>>, Problem> {
    set_paused(&caller, id, true, version).await
}

/// Resume a schedule with its next time: those that passed meanwhile are not made up for. What is for once and was due
/// meanwhile is due at once.
#[utoipa::path(
    post, path = "/schedules/{id}/resume", tag = "schedules", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The schedule"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Schedule))
)]
async fn resume(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Versioned<Json<Schedule>>, Problem> {
    set_paused(&caller, id, false, version).await
}

async fn set_paused(
    caller: &Caller,
    id: Uuid,
    paused: bool,
    version: Option<i64>,
) -> Result<Versioned<Json<Schedule>>, Problem> {
    let tenant = caller.begin().await?;
    let id = JobScheduleId(id);
    job_schedule::set_paused(&tenant, id, paused, version, caller.author()).await?;
    shown(tenant, id).await
}

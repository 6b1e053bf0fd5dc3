//! Async operations: what was asked for, how far it is, what came of it.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use model::id::JobId;
use model::job::{JobKind, JobState, StepOutcome};
use serde::{Deserialize, Serialize};
use store::job::{self, NewJob};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::{Kind, Problem};
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, start)).routes(routes!(get)).routes(routes!(cancel))
}

/// An async operation.
#[derive(Serialize, ToSchema)]
pub(super) struct Job {
    /// Which.
    id: Uuid,
    /// What it does.
    #[schema(value_type = schema::JobKind)]
    kind: JobKind,
    /// What it is done to, such as `{"mailbox": "…"}`.
    #[schema(value_type = Object)]
    payload: serde_json::Value,
    /// Where it stands.
    #[schema(value_type = schema::JobState)]
    state: JobState,
    /// How often it was tried.
    attempts: u32,
    /// What happened so far.
    steps: Vec<Step>,
    /// What came of it, once it ended; `error` and `remedy` when it failed.
    #[schema(value_type = Option<Object>)]
    result: Option<serde_json::Value>,
    /// Who asked for it, such as `user:…`.
    created_by: String,
    /// When.
    created_at: Timestamp,
    /// When it ended.
    ended_at: Option<Timestamp>,
}

/// One line of progress.
#[derive(Serialize, ToSchema)]
struct Step {
    /// What is done, in a few words.
    name: String,
    /// How it went.
    #[schema(value_type = schema::StepOutcome)]
    outcome: StepOutcome,
    /// What was found or what the server said, with the remedy when it failed.
    detail: String,
}

impl From<job::Job> for Job {
    fn from(job: job::Job) -> Self {
        let step =
            |step: model::job::Step| Step { name: step.name, outcome: step.outcome, detail: step.detail };
        Self {
            id: job.id.0,
            kind: job.kind,
            payload: job.payload,
            state: job.state,
            attempts: job.attempts,
            steps: job.progress.into_iter().map(step).collect(),
            result: job.result,
            created_by: job.created_by,
            created_at: job.created_at,
            ended_at: job.ended_at,
        }
    }
}

/// Which jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobQuery {
    /// Of this kind.
    #[param(value_type = Option<schema::JobKind>)]
    kind: Option<JobKind>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Async operations, the newest first.
#[utoipa::path(
    get, path = "/jobs", tag = "jobs", security(("key" = ["oversee"])),
    params(JobQuery), responses((status = 200, body = Page<Job>))
)]
async fn list(caller: Caller, Query(query): Query<JobQuery>) -> Result<Json<Page<Job>>, Problem> {
    let wanted = Wanted::<JobId>::new("jobs", query.limit, query.cursor.as_deref())?;
    let limit = usize::try_from(wanted.limit()).unwrap_or(1);
    let tenant = caller.begin().await?;
    let jobs = job::list(&tenant, &job::Page { kind: query.kind, before: wanted.after, limit }).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(jobs, |job| job.id.to_string(), Job::from)))
}

/// An async operation to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobToStart {
    /// What it does: `key_rotation` seals every secret of the organization again with the active key. Tests are
    /// started on their mailboxes and profiles, and so is examining again.
    #[schema(value_type = schema::JobKind)]
    kind: JobKind,
}

/// How often a job is tried that failed for a reason of our own.
const TRIES: u32 = 5;

/// Start an async operation of the whole organization.
#[utoipa::path(
    post, path = "/jobs", tag = "jobs", security(("key" = ["administer"])),
    request_body = JobToStart, responses((status = 202, body = Job))
)]
async fn start(caller: Caller, Json(wanted): Json<JobToStart>) -> Result<(StatusCode, Json<Job>), Problem> {
    match wanted.kind {
        JobKind::TestAndEnable | JobKind::TestProfile => Err(Problem::invalid(
            "kind",
            "a test is of mailboxes, and none is named here",
            "start it with POST /api/v1/mailboxes/{id}/test, /mailboxes/test or /profiles/{id}/test",
        )),
        JobKind::ReExamine => Err(Problem::invalid(
            "kind",
            "what to examine again is not named here",
            "start it with POST /api/v1/re-examine, /profiles/{id}/re-examine or /mailboxes/{id}/re-examine",
        )),
        JobKind::KeyRotation => started(&caller, wanted.kind, serde_json::json!({})).await,
    }
}

/// Starts an operation that is due now, and shows it.
pub(super) async fn started(
    caller: &Caller,
    kind: JobKind,
    payload: serde_json::Value,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let tenant = caller.begin().await?;
    let new = NewJob { kind, payload, max_attempts: TRIES };
    let id = job::create(&tenant, &new, caller.author(), Duration::ZERO).await?;
    let job = job::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("job"))?;
    tenant.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(job.into())))
}

/// One async operation with its steps.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", security(("key" = ["oversee"])),
    params(("id" = Uuid, Path, description = "The job")), responses((status = 200, body = Job))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<Job>, Problem> {
    let tenant = caller.begin().await?;
    let job = job::get(&tenant, JobId(id)).await?.ok_or_else(|| Problem::not_found("job"))?;
    tenant.commit().await?;
    Ok(Json(job.into()))
}

/// Withdraw an async operation; one that runs stops at its next step.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", tag = "jobs", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The job")), responses((status = 200, body = Job))
)]
async fn cancel(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<Job>, Problem> {
    let tenant = caller.begin().await?;
    let canceled = job::cancel(&tenant, JobId(id), caller.author()).await?;
    let job = job::get(&tenant, JobId(id)).await?.ok_or_else(|| Problem::not_found("job"))?;
    tenant.commit().await?;
    if !canceled && job.state != JobState::Canceled {
        let cause = format!("the job has ended already: it {}", job.state);
        return Err(Problem::new(Kind::Conflict, cause, "there is nothing to cancel").about("state"));
    }
    Ok(Json(job.into()))
}

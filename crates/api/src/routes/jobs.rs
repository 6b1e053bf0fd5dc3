//! Async operations: what was asked for, how far it is, what came of it.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use model::id::{JobId, JobScheduleId};
use model::job::{JobKind, JobState, StepOutcome, TRIES};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
use crate::transaction::Transaction;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(get))
        .routes(routes!(cancel))
        .routes(routes!(retry))
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
    payload: Value,
    /// Where it stands.
    #[schema(value_type = schema::JobState)]
    state: JobState,
    /// How often it was tried.
    attempts: u32,
    /// How often it is tried at most. Only failures of Lockstep's own are tried again; what a person must mend first is not.
    max_attempts: u32,
    /// What the last try said that failed, while there are more.
    last_error: Option<String>,
    /// While it waits: when it is due, after a failed try the next one. A job that waits for another is not due before that
    /// one has succeeded.
    due_at: Option<Timestamp>,
    /// The job that must succeed before it; when that one does not, this one fails with the reason.
    after: Option<Uuid>,
    /// Whether it still waits for that one.
    held: bool,
    /// The schedule that asked for it.
    schedule: Option<Uuid>,
    /// What happened so far.
    steps: Vec<Step>,
    /// What came of it, once it ended; `error` and `remedy` when it failed.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
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
            max_attempts: job.max_attempts,
            last_error: job.last_error,
            due_at: job.due_at,
            after: job.after.map(|after| after.0),
            held: job.held,
            schedule: job.schedule.map(|schedule| schedule.0),
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
    /// In this state.
    #[param(value_type = Option<schema::JobState>)]
    state: Option<JobState>,
    /// That this schedule asked for.
    schedule: Option<Uuid>,
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
    let page = job::Page {
        kind: query.kind,
        state: query.state,
        schedule: query.schedule.map(JobScheduleId),
        before: wanted.after,
        limit,
    };
    let jobs = job::list(&tenant, &page).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(jobs, |job| job.id.to_string(), Job::from)))
}

/// An async operation to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct JobToStart {
    /// What it does: `key_rotation` seals every secret of the organization again with the active key, `clean_up` removes what
    /// was kept for long enough, `test_profile` tests and enables all mailboxes of a profile, `test_and_enable` one mailbox,
    /// `re_examine` has what mailboxes passed over examined again.
    #[schema(value_type = schema::JobKind)]
    kind: JobKind,
    /// What it is done to: `{"mailbox": "…"}`, `{"profile": "…"}`, for `re_examine` also `decisions`; otherwise `{}`.
    #[serde(default = "nothing")]
    #[schema(value_type = Option<Object>)]
    payload: Value,
    /// A job that must succeed before this one is due. When that one fails or is canceled, this one fails with the reason.
    after: Option<Uuid>,
}

/// The payload of a job that is done to the whole organization.
pub(super) fn nothing() -> Value {
    json!({})
}

/// Start an async operation.
#[utoipa::path(
    post, path = "/jobs", tag = "jobs", security(("key" = ["administer"])),
    request_body = JobToStart, responses((status = 202, body = Job))
)]
async fn start(caller: Caller, Json(wanted): Json<JobToStart>) -> Result<(StatusCode, Json<Job>), Problem> {
    let tenant = caller.begin().await?;
    let payload = job::checked(&tenant, wanted.kind, &wanted.payload).await?;
    asked(&caller, tenant, wanted.kind, payload, wanted.after.map(JobId)).await
}

/// Starts an operation that is due now, and shows it.
pub(super) async fn started(
    caller: &Caller,
    kind: JobKind,
    payload: Value,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let tenant = caller.begin().await?;
    asked(caller, tenant, kind, payload, None).await
}

async fn asked(
    caller: &Caller,
    tenant: Transaction,
    kind: JobKind,
    payload: Value,
    after: Option<JobId>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let new = NewJob { kind, payload, max_attempts: TRIES, after };
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

/// Ask again for an async operation that failed or was canceled: it begins anew, with all of its tries.
#[utoipa::path(
    post, path = "/jobs/{id}/retry", tag = "jobs", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The job")), responses((status = 202, body = Job))
)]
async fn retry(caller: Caller, Path(id): Path<Uuid>) -> Result<(StatusCode, Json<Job>), Problem> {
    let tenant = caller.begin().await?;
    let again = job::retry(&tenant, JobId(id), caller.author()).await?;
    let job = job::get(&tenant, JobId(id)).await?.ok_or_else(|| Problem::not_found("job"))?;
    tenant.commit().await?;
    if again {
        return Ok((StatusCode::ACCEPTED, Json(job.into())));
    }
    let (cause, remedy) = if job.state == JobState::Succeeded {
        ("the job has succeeded", "start another one")
    } else {
        ("the job has not ended", "wait for its end, or cancel it first")
    };
    Err(Problem::new(Kind::Conflict, cause, remedy).about("state"))
}

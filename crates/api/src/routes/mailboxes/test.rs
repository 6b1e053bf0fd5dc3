//! Test and enable: one async job per mailbox, which signs in to both servers and switches on what works.

use std::time::Duration;

use axum::http::StatusCode;
use model::id::MailboxId;
use model::job::{JobKind, TestAndEnable};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::Tenant;
use store::job::{self, NewJob};
use store::mailbox;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::problem::{Kind, Problem};

/// Mailboxes of one request at most.
const MOST: usize = 1000;
/// How often a test may be tried when one of our own parts is away.
const TRIES: u32 = 3;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(test)).routes(routes!(test_many))
}

/// Mailboxes to test and enable.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MailboxesToTest {
    /// Up to 1,000.
    mailboxes: Vec<Uuid>,
    /// Take a mailbox also where another installation or organization has marked it as its own.
    #[serde(default)]
    #[schema(required = false)]
    force: bool,
}

/// How to test.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TestQuery {
    /// Take the mailbox also where another installation or organization has marked it as its own.
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

/// Tests that were started.
#[derive(Serialize, ToSchema)]
struct TestsStarted {
    /// The jobs, one per mailbox: `GET /jobs/{id}` shows their steps.
    jobs: Vec<StartedTest>,
    /// Mailboxes that cannot be tested yet.
    skipped: Vec<SkippedTest>,
}

/// A test that was started.
#[derive(Serialize, ToSchema)]
struct StartedTest {
    /// Of which mailbox.
    mailbox: Uuid,
    /// The mailbox's name.
    name: String,
    /// The job.
    job: Uuid,
}

/// A mailbox that cannot be tested yet.
#[derive(Serialize, ToSchema)]
struct SkippedTest {
    /// Which.
    mailbox: Uuid,
    /// Its name.
    name: String,
    /// Why.
    cause: String,
    /// What to do about it.
    remedy: String,
}

async fn start(caller: &Caller, tenant: &Tenant, mailbox: MailboxId, force: bool) -> Result<Uuid, Problem> {
    let job = NewJob {
        kind: JobKind::TestAndEnable,
        payload: json!(TestAndEnable { mailbox, force }),
        max_attempts: TRIES,
        after: None,
    };
    Ok(job::create(tenant, &job, caller.author(), Duration::ZERO).await?.0)
}

/// Starts what can be started.
async fn start_all(
    caller: &Caller,
    tenant: &Tenant,
    mailboxes: Vec<mailbox::Mailbox>,
    force: bool,
    started: &mut TestsStarted,
) -> Result<(), Problem> {
    for mailbox in mailboxes {
        let (id, name) = (mailbox.id.0, mailbox.name.clone());
        if let Some((cause, remedy)) = mailbox.test_obstacle() {
            let (cause, remedy) = (cause.to_owned(), remedy.to_owned());
            started.skipped.push(SkippedTest { mailbox: id, name, cause, remedy });
        } else {
            let job = start(caller, tenant, mailbox.id, force).await?;
            started.jobs.push(StartedTest { mailbox: id, name, job });
        }
    }
    Ok(())
}

/// Test and enable a mailbox: an async job signs in to both servers and switches on what works.
#[utoipa::path(
    post, path = "/mailboxes/{id}/test", tag = "mailboxes", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The mailbox"), TestQuery), responses((status = 202, body = TestsStarted))
)]
async fn test(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<TestQuery>,
) -> Result<(StatusCode, Json<TestsStarted>), Problem> {
    let tenant = caller.begin().await?;
    let mailbox = mailbox::get(&tenant, MailboxId(id)).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    if let Some((cause, remedy)) = mailbox.test_obstacle() {
        return Err(Problem::new(Kind::Conflict, cause, remedy));
    }
    let mut started = TestsStarted { jobs: Vec::new(), skipped: Vec::new() };
    start_all(&caller, &tenant, vec![mailbox], query.force, &mut started).await?;
    tenant.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// Test and enable several mailboxes, one job each. Those that cannot be tested are named with the reason.
#[utoipa::path(
    post, path = "/mailboxes/test", tag = "mailboxes", security(("key" = ["administer"])),
    request_body = MailboxesToTest, responses((status = 202, body = TestsStarted))
)]
async fn test_many(
    caller: Caller,
    Json(wanted): Json<MailboxesToTest>,
) -> Result<(StatusCode, Json<TestsStarted>), Problem> {
    if !(1..=MOST).contains(&wanted.mailboxes.len()) {
        let cause = format!("`mailboxes` has {} entries", wanted.mailboxes.len());
        return Err(Problem::invalid("mailboxes", cause, "give 1 to 1000 ids at once"));
    }
    let tenant = caller.begin().await?;
    let mut mailboxes = Vec::with_capacity(wanted.mailboxes.len());
    for (place, id) in wanted.mailboxes.iter().copied().enumerate() {
        let mailbox = mailbox::get(&tenant, MailboxId(id)).await?;
        let missing = || Problem::not_found("mailbox").about(&format!("mailboxes[{place}]"));
        mailboxes.push(mailbox.ok_or_else(missing)?);
    }
    let mut started = TestsStarted { jobs: Vec::new(), skipped: Vec::new() };
    start_all(&caller, &tenant, mailboxes, wanted.force, &mut started).await?;
    tenant.commit().await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}

//! Examining again what mailboxes passed over, after a policy, a floor or a limit was changed: how much there is, and the
//! request for it. Judging is the next incoming cycle's.

use axum::http::StatusCode;
use model::email::Decision;
use model::explain::is_passed_over;
use model::id::{MailboxId, ProfileId};
use model::job::JobKind;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::item::{self, Extent};
use store::{mailbox, profile};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::jobs::{Job, started};
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(of_mailbox))
        .routes(routes!(ask_mailbox))
        .routes(routes!(of_profile))
        .routes(routes!(ask_profile))
        .routes(routes!(of_all))
        .routes(routes!(ask_all))
}

/// What there is to examine again.
#[derive(Serialize, ToSchema)]
struct ReExamination {
    /// How many messages would be fetched and judged again.
    total: i64,
    /// The same by what was decided about them.
    decisions: Vec<PassedOver>,
    /// Asked for before, and not judged yet.
    waiting: i64,
}

/// The messages with one decision that today's acceptance, floor and limit do not rule out.
#[derive(Serialize, ToSchema)]
struct PassedOver {
    /// What was decided.
    #[schema(value_type = schema::Decision)]
    decision: Decision,
    /// How many the server may still have.
    could: i64,
    /// How many more it lists no longer: they cannot be fetched.
    gone: i64,
}

/// Which messages to examine again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReExamine {
    /// Only those with these decisions: `not_accepted`, `before_the_floor`, `too_large`, `undeliverable`. All when left out.
    #[schema(value_type = Option<Vec<schema::Decision>>)]
    decisions: Option<Vec<Decision>>,
}

/// What was asked for.
#[derive(Serialize, ToSchema)]
struct ReExaminationAsked {
    /// How many messages are fetched and judged again by the next incoming cycles.
    items: i64,
    /// In how many mailboxes.
    mailboxes: i64,
    /// In how many of these incoming mail is off: they are examined once it is on.
    mailboxes_off: i64,
}

async fn counted(caller: &Caller, extent: Extent) -> Result<Json<ReExamination>, Problem> {
    let tenant = caller.begin().await?;
    match extent {
        Extent::Mailbox(id) => {
            mailbox::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
        }
        Extent::Profile(id) => {
            profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
        }
        Extent::Organization => {}
    }
    let counted = item::count(&tenant, extent).await?;
    tenant.commit().await?;
    Ok(Json(ReExamination {
        total: counted.decisions.iter().map(|passed| passed.could).sum(),
        decisions: counted
            .decisions
            .into_iter()
            .map(|passed| PassedOver { decision: passed.decision, could: passed.could, gone: passed.gone })
            .collect(),
        waiting: counted.waiting,
    }))
}

/// What may be examined again among the decisions that were named.
fn check(wanted: &ReExamine) -> Result<(), Problem> {
    let decisions = wanted.decisions.as_deref();
    if let Some(other) = decisions.unwrap_or_default().iter().find(|decision| !is_passed_over(**decision)) {
        return Err(Problem::invalid(
            "decisions",
            format!("what is `{other}` was not passed over"),
            "use `not_accepted`, `before_the_floor`, `too_large` and `undeliverable`",
        ));
    }
    Ok(())
}

/// Starts it over many mailboxes: a job, in bounded batches.
async fn over_many(
    caller: &Caller,
    profile: Option<ProfileId>,
    wanted: ReExamine,
) -> Result<(StatusCode, Json<Job>), Problem> {
    check(&wanted)?;
    let payload = json!(model::job::ReExamine { profile, decisions: wanted.decisions });
    started(caller, JobKind::ReExamine, payload).await
}

/// Count what the mailbox passed over and could take by today's acceptance, floor and limit.
#[utoipa::path(
    get, path = "/mailboxes/{id}/re-examination", tag = "mailboxes", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The mailbox")), responses((status = 200, body = ReExamination))
)]
async fn of_mailbox(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<ReExamination>, Problem> {
    counted(&caller, Extent::Mailbox(MailboxId(id))).await
}

/// Have the next incoming cycle fetch and judge again what the mailbox passed over and could take now.
#[utoipa::path(
    post, path = "/mailboxes/{id}/re-examine", tag = "mailboxes", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The mailbox")),
    request_body = ReExamine, responses((status = 202, body = ReExaminationAsked))
)]
async fn ask_mailbox(
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(wanted): Json<ReExamine>,
) -> Result<(StatusCode, Json<ReExaminationAsked>), Problem> {
    check(&wanted)?;
    let tenant = caller.begin().await?;
    let extent = Extent::Mailbox(MailboxId(id));
    let asked = item::ask(&tenant, extent, wanted.decisions.as_deref(), caller.author()).await?;
    tenant.commit().await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(ReExaminationAsked { items: asked.items, mailboxes: asked.mailboxes, mailboxes_off: asked.off }),
    ))
}

/// Count what the mailboxes of the profile passed over and could take by today's acceptance, floor and limit.
#[utoipa::path(
    get, path = "/profiles/{id}/re-examination", tag = "profiles", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 200, body = ReExamination))
)]
async fn of_profile(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<ReExamination>, Problem> {
    counted(&caller, Extent::Profile(ProfileId(id))).await
}

/// Have the next incoming cycles fetch and judge again what the mailboxes of the profile passed over and could take now: a
/// job, whose result counts `items`, `mailboxes` and `mailboxes_off`.
#[utoipa::path(
    post, path = "/profiles/{id}/re-examine", tag = "profiles", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The profile")),
    request_body = ReExamine, responses((status = 202, body = Job))
)]
async fn ask_profile(
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(wanted): Json<ReExamine>,
) -> Result<(StatusCode, Json<Job>), Problem> {
    let tenant = caller.begin().await?;
    profile::get(&tenant, ProfileId(id)).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    over_many(&caller, Some(ProfileId(id)), wanted).await
}

/// Count what all mailboxes passed over and could take now, such as after `max_message_mb` was raised.
#[utoipa::path(
    get, path = "/re-examination", tag = "mailboxes", security(("key" = ["administer"])),
    responses((status = 200, body = ReExamination))
)]
async fn of_all(caller: Caller) -> Result<Json<ReExamination>, Problem> {
    counted(&caller, Extent::Organization).await
}

/// Have the next incoming cycles fetch and judge again what all mailboxes passed over and could take now: a job, whose
/// result counts `items`, `mailboxes` and `mailboxes_off`.
#[utoipa::path(
    post, path = "/re-examine", tag = "mailboxes", security(("key" = ["administer"])),
    request_body = ReExamine, responses((status = 202, body = Job))
)]
async fn ask_all(caller: Caller, Json(wanted): Json<ReExamine>) -> Result<(StatusCode, Json<Job>), Problem> {
    over_many(&caller, None, wanted).await
}

//! Removing what an administrator set up: first what would go and what stays, then the removal. Records are never removed
//! with it.

use axum::http::StatusCode;
use model::id::{MailboxId, ProfileId, QueueId, UserId};
use serde::Serialize;
use store::{deletion, mailbox, profile, queue, user};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(of_mailbox))
        .routes(routes!(of_user))
        .routes(routes!(of_queue))
        .routes(routes!(of_profile))
        .routes(routes!(remove_mailbox))
        .routes(routes!(remove_user))
        .routes(routes!(remove_queue))
}

/// What removing something would do.
#[derive(Serialize, ToSchema)]
struct Deletion {
    /// The noun.
    record_type: String,
    /// Its name.
    name: String,
    /// Its version; give it as `If-Match` to remove exactly what was described.
    version: i64,
    /// What goes with it.
    goes: Vec<Part>,
    /// What stays, and with whom.
    stays: Vec<Part>,
    /// Why it cannot be removed; null when it can.
    refused: Option<Refused>,
}

/// Something that goes or stays.
#[derive(Serialize, ToSchema)]
#[schema(as = DeletionPart)]
struct Part {
    /// What, such as `received emails`.
    what: String,
    /// How many.
    count: i64,
    /// What happens to them.
    meaning: String,
}

/// Why something cannot be removed.
#[derive(Serialize, ToSchema)]
#[schema(as = DeletionRefused)]
struct Refused {
    /// The cause, with the way out.
    cause: String,
}

impl From<deletion::Part> for Part {
    fn from(part: deletion::Part) -> Self {
        Self { what: part.what.to_owned(), count: part.count, meaning: part.meaning.to_owned() }
    }
}

fn answer(told: deletion::Deletion) -> Versioned<Json<Deletion>> {
    let parts = |parts: Vec<deletion::Part>| parts.into_iter().map(Part::from).collect();
    Versioned(
        told.version,
        Json(Deletion {
            record_type: told.record_type.to_owned(),
            name: told.name,
            version: told.version,
            goes: parts(told.goes),
            stays: parts(told.stays),
            refused: told.refused.map(|refusal| Refused { cause: refusal.to_string() }),
        }),
    )
}

type Answer = Result<Versioned<Json<Deletion>>, Problem>;

/// What removing a mailbox would do, with counts. Nothing is changed.
#[utoipa::path(
    get, path = "/mailboxes/{id}/deletion", tag = "mailboxes", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The mailbox")), responses((status = 200, body = Deletion))
)]
async fn of_mailbox(caller: Caller, Path(id): Path<Uuid>) -> Answer {
    let tenant = caller.begin().await?;
    let told = mailbox::deletion(&tenant, MailboxId(id)).await?;
    tenant.commit().await?;
    Ok(answer(told))
}

/// What removing a user would do, with counts. Nothing is changed. One who only leaves is made inactive instead.
#[utoipa::path(
    get, path = "/users/{id}/deletion", tag = "users", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The user")), responses((status = 200, body = Deletion))
)]
async fn of_user(caller: Caller, Path(id): Path<Uuid>) -> Answer {
    let tenant = caller.begin().await?;
    let told = user::deletion(&tenant, UserId(id)).await?;
    tenant.commit().await?;
    Ok(answer(told))
}

/// What removing a queue would do, with counts. Nothing is changed.
#[utoipa::path(
    get, path = "/queues/{id}/deletion", tag = "queues", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The queue")), responses((status = 200, body = Deletion))
)]
async fn of_queue(caller: Caller, Path(id): Path<Uuid>) -> Answer {
    let tenant = caller.begin().await?;
    let told = queue::deletion(&tenant, QueueId(id)).await?;
    tenant.commit().await?;
    Ok(answer(told))
}

/// What removing a profile would do, with counts. Nothing is changed. One that mailboxes use cannot be removed.
#[utoipa::path(
    get, path = "/profiles/{id}/deletion", tag = "profiles", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 200, body = Deletion))
)]
async fn of_profile(caller: Caller, Path(id): Path<Uuid>) -> Answer {
    let tenant = caller.begin().await?;
    let told = profile::deletion(&tenant, ProfileId(id)).await?;
    tenant.commit().await?;
    Ok(answer(told))
}

/// Remove a mailbox. What runs stops at its next commit, its secret is forgotten and pending sends are drafts again; what
/// it received and sent stays with its owners. The mail server is not touched.
#[utoipa::path(
    delete, path = "/mailboxes/{id}", tag = "mailboxes", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Removed"))
)]
async fn remove_mailbox(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    mailbox::delete(&tenant, MailboxId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a user. Their keys open nothing, their mailbox has no owner and stops; their emails stay, for administrators.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Removed"))
)]
async fn remove_user(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    user::delete(&tenant, UserId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a queue. Its mailbox has no owner and stops; its emails stay, for administrators.
#[utoipa::path(
    delete, path = "/queues/{id}", tag = "queues", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The queue"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Removed"))
)]
async fn remove_queue(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    queue::delete(&tenant, QueueId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

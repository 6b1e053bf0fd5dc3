//! Emails: what came in, and what is written and sent. A user sees the own mail and that of the user's queues; bodies are
//! a right of their own.

mod attachments;
mod body;
mod draft;
mod explain;
mod sending;
mod shape;

use axum::http::StatusCode;
use model::automatic::Automatic;
use model::email::{Direction, EmailState};
use model::id::{EmailId, MailboxId};
use serde::Deserialize;
use store::email::{self, EmailFilter};
use store::outgoing::report;
use store::{Tenant, outgoing};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::shape::{Email, EmailSummary};
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
        .routes(routes!(list, draft::create))
        .routes(routes!(get, draft::update, delete))
        .merge(explain::routes())
        .merge(body::routes())
        .merge(sending::routes())
        .merge(attachments::routes())
}

/// Which emails.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EmailQuery {
    /// Incoming or outgoing.
    #[param(value_type = Option<schema::Direction>)]
    direction: Option<Direction>,
    /// In this state.
    #[param(value_type = Option<schema::EmailState>)]
    state: Option<EmailState>,
    /// Received by or sent from this mailbox.
    mailbox: Option<Uuid>,
    /// With this address among its parties.
    address: Option<String>,
    /// With this Message-ID, without angle brackets.
    message_id: Option<String>,
    /// With this id of the host application.
    external_id: Option<String>,
    /// Of this kind of automatic mail.
    #[param(value_type = Option<schema::Automatic>)]
    automatic: Option<Automatic>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The email that the path names, when the caller may see it.
async fn seen(caller: &Caller, tenant: &Tenant, id: EmailId) -> Result<email::Email, Problem> {
    email::get(tenant, id, caller.reader()).await?.ok_or_else(|| Problem::not_found("email"))
}

/// The whole answer about an email, with its sending.
async fn answer(
    caller: &Caller,
    tenant: Transaction,
    id: EmailId,
) -> Result<Versioned<Json<Email>>, Problem> {
    let email = seen(caller, &tenant, id).await?;
    let (mut sending, mut earlier, mut reports) = (None, Vec::new(), Vec::new());
    if email.direction == Direction::Outgoing {
        sending = outgoing::state_of(&tenant, id).await?;
        earlier = outgoing::earlier(&tenant, id).await?;
        reports = report::of_email(&tenant, id).await?;
    }
    tenant.commit().await?;
    Ok(Versioned(email.version, Json(Email::new(email, sending, earlier, reports))))
}

/// Emails, the newest first: a user's own, or all for administrators; without bodies.
#[utoipa::path(
    get, path = "/emails", tag = "emails", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(EmailQuery), responses((status = 200, body = Page<EmailSummary>))
)]
async fn list(caller: Caller, Query(query): Query<EmailQuery>) -> Result<Json<Page<EmailSummary>>, Problem> {
    let wanted = Wanted::<EmailId>::new("emails", query.limit, query.cursor.as_deref())?;
    let filter = EmailFilter {
        direction: query.direction,
        state: query.state,
        owner: None,
        mailbox: query.mailbox.map(MailboxId),
        address: query.address,
        message_id: query.message_id,
        external_id: query.external_id,
        automatic: query.automatic,
    };
    let tenant = caller.begin().await?;
    let emails = email::list(&tenant, caller.reader(), &filter, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(emails, |email| email.id.to_string(), EmailSummary::from)))
}

/// One email with its parties, the mailboxes that got it, and its sending; without its body.
#[utoipa::path(
    get, path = "/emails/{id}", tag = "emails", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The email")), responses((status = 200, body = Email))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Email>>, Problem> {
    let tenant = caller.begin().await?;
    answer(&caller, tenant, EmailId(id)).await
}

/// Remove a draft or a failed email.
#[utoipa::path(
    delete, path = "/emails/{id}", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Removed"))
)]
async fn delete(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(&caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    outgoing::delete(&tenant, email.id, version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Only what is ours to send can be changed.
fn outgoing_only(email: &email::Email) -> Result<(), Problem> {
    if email.direction == Direction::Outgoing {
        return Ok(());
    }
    let remedy = "answer it with a new draft that names it in `in_reply_to`";
    Err(Problem::new(
        crate::problem::Kind::Conflict,
        "an email that came in cannot be changed or sent",
        remedy,
    )
    .about("direction"))
}

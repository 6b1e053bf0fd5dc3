//! Asking for an email to be sent, taking that back, and deciding what is in doubt.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::actor::Scope;
use model::id::{EmailId, UserId};
use serde::Deserialize;
use store::outgoing::{self, Request, Resolution};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::shape::Email;
use super::{answer, outgoing_only, seen};
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::{Kind, Problem};
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(cancel))
        .routes(routes!(mark_sent))
        .routes(routes!(resend))
}

/// How an email is to be sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SendOptions {
    /// Not to leave before this; at once when left out.
    not_before: Option<Timestamp>,
    /// To whom, when some have got it by an earlier request: `remaining` (when left out) or `all`, which may give it to
    /// some twice and is marked so.
    recipients: Option<Recipients>,
    /// For a service key: the user on whose right it is sent, who must be allowed to send from the mailbox. A key with
    /// the scope `send_as_any` may leave it out. A user's key sends on that user's right and leaves it out.
    person: Option<Uuid>,
}

/// To whom an email goes that some have got.
#[derive(Deserialize, ToSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Recipients {
    /// Those who have not got it.
    Remaining,
    /// Everybody, again.
    All,
}

/// On whose right an email in doubt is sent again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResendOptions {
    /// For a service key, as for sending.
    person: Option<Uuid>,
}

/// On whose right the caller sends: a person's own; for a service that of the person it names, or nobody's with the scope
/// for it. An administrator is a person like everyone else.
fn rests_on(caller: &Caller, named: Option<Uuid>) -> Result<Option<UserId>, Problem> {
    let principal = caller.principal();
    match (principal.user, named.map(UserId)) {
        (Some((user, _)), None) => Ok(Some(user)),
        (Some((user, _)), Some(named)) if named == user => Ok(Some(user)),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "person",
            "a user's key sends on that user's right",
            "leave `person` out, and ask the other user for the grant to send in their name",
        )),
        (None, Some(named)) => Ok(Some(named)),
        (None, None) if principal.may(Scope::SendAsAny) => Ok(None),
        (None, None) => Err(Problem::new(
            Kind::Forbidden,
            "your key may send on the right of a person only",
            "name the user in `person`, or use a service key with the scope `send_as_any`",
        )
        .about("person")),
    }
}

/// Ask for an email to be sent: a draft, a failed one, or one that some have not got yet, to everybody who has not got it.
///
/// Who may: the owner of the mailbox it is from, the members of the queue that owns it, and whoever the owner granted it
/// to (`PUT /users/{id}/send-grants/{user}`). Administrators need the grant like everyone else. A service key with the
/// scope `send` names the `person` on whose right it sends; one with `send_as_any` sends from any mailbox. Sent on another
/// person's grant, the message says From the owner and Sender whoever sent it. The right is asked for again when the
/// message is about to leave; when it was taken back meanwhile, the email is a draft again, with an alert.
#[utoipa::path(
    post, path = "/emails/{id}/send", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own_alone"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = Option<SendOptions>, responses((status = 202, body = Email))
)]
async fn send(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(options): Json<SendOptions>,
) -> Result<(StatusCode, Versioned<Json<Email>>), Problem> {
    let tenant = caller.begin().await?;
    let email = seen(&caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    let request = Request {
        person: rests_on(&caller, options.person)?,
        not_before: options.not_before,
        to_all: options.recipients == Some(Recipients::All),
    };
    outgoing::request_send(&tenant, email.id, version, request, caller.author()).await?;
    Ok((StatusCode::ACCEPTED, answer(&caller, tenant, email.id).await?))
}

/// Take a send request back until a try is under way: whoever still waits is dropped, whoever has got it keeps it.
#[utoipa::path(
    post, path = "/emails/{id}/cancel", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Email))
)]
async fn cancel(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Versioned<Json<Email>>, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(&caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    outgoing::cancel(&tenant, email.id, version, caller.author()).await?;
    answer(&caller, tenant, email.id).await
}

/// Say of an email in doubt (`unknown`) that it was sent.
#[utoipa::path(
    post, path = "/emails/{id}/mark-sent", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Email))
)]
async fn mark_sent(
    caller: Caller,
    Path(id): Path<Uuid>,
    version: IfMatch,
) -> Result<Versioned<Json<Email>>, Problem> {
    resolve(&caller, id, version, Resolution::MarkSent, None).await
}

/// Send an email in doubt (`unknown`) again, although its recipients may have got it: it is marked as a possible
/// duplicate.
#[utoipa::path(
    post, path = "/emails/{id}/resend", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own_alone"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = Option<ResendOptions>, responses((status = 200, body = Email))
)]
async fn resend(
    caller: Caller,
    Path(id): Path<Uuid>,
    version: IfMatch,
    Json(options): Json<ResendOptions>,
) -> Result<Versioned<Json<Email>>, Problem> {
    let person = rests_on(&caller, options.person)?;
    resolve(&caller, id, version, Resolution::Resend, person).await
}

async fn resolve(
    caller: &Caller,
    id: Uuid,
    IfMatch(version): IfMatch,
    resolution: Resolution,
    person: Option<UserId>,
) -> Result<Versioned<Json<Email>>, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    outgoing::resolve_unknown(&tenant, email.id, version, resolution, person, caller.author()).await?;
    answer(caller, tenant, email.id).await
}

//! Asking for an email to be sent, taking that back, and deciding what is in doubt.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::id::EmailId;
use serde::Deserialize;
use store::outgoing::{self, Resolution};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::shape::Email;
use super::{answer, outgoing_only, seen};
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;
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
}

/// Ask for a draft or a failed email to be sent, to everybody who has not got it yet.
#[utoipa::path(
    post, path = "/emails/{id}/send", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
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
    // An administrator sends for the organization, as a service does; a user for themselves and their queues.
    let principal = caller.confined_to().map(|_| caller.principal());
    outgoing::request_send(&tenant, email.id, version, principal, options.not_before, caller.author())
        .await?;
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
    resolve(&caller, id, version, Resolution::MarkSent).await
}

/// Send an email in doubt (`unknown`) again, although its recipients may have got it: it is marked as a possible
/// duplicate.
#[utoipa::path(
    post, path = "/emails/{id}/resend", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Email))
)]
async fn resend(
    caller: Caller,
    Path(id): Path<Uuid>,
    version: IfMatch,
) -> Result<Versioned<Json<Email>>, Problem> {
    resolve(&caller, id, version, Resolution::Resend).await
}

async fn resolve(
    caller: &Caller,
    id: Uuid,
    IfMatch(version): IfMatch,
    resolution: Resolution,
) -> Result<Versioned<Json<Email>>, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    let principal = caller.confined_to().map(|_| caller.principal());
    outgoing::resolve_unknown(&tenant, email.id, version, resolution, principal, caller.author()).await?;
    answer(caller, tenant, email.id).await
}

//! Grants to send as somebody: each user decides who may send in the own name, and an administrator for anybody.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::id::UserId;
use serde::Serialize;
use store::{grant, user};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(give, take_back))
}

/// Who may send in whose name.
#[derive(Serialize, ToSchema)]
struct SendGrants {
    /// Who may send in the user's name.
    given: Vec<SendGrant>,
    /// In whose name the user may send.
    received: Vec<SendGrant>,
}

/// The other user of a grant.
#[derive(Serialize, ToSchema)]
struct SendGrant {
    /// Which user.
    user: Uuid,
    /// The name to show.
    name: String,
    /// The address.
    address: String,
    /// Since when.
    since: Timestamp,
}

impl From<grant::Grant> for SendGrant {
    fn from(grant: grant::Grant) -> Self {
        Self { user: grant.user.0, name: grant.name, address: grant.address, since: grant.since }
    }
}

/// The own grants are a user's to see and to give; all are an administrator's.
fn check(caller: &Caller, granter: UserId) -> Result<(), Problem> {
    if caller.principal().administers() || caller.confined_to() == Some(granter) {
        return Ok(());
    }
    Err(Problem::not_found("grant of yours"))
}

/// Who may send in a user's name, and in whose name the user may: the user's own to see, and administrators'.
#[utoipa::path(
    get, path = "/users/{id}/send-grants", tag = "users", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The user")), responses((status = 200, body = SendGrants))
)]
async fn list(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<SendGrants>, Problem> {
    let id = UserId(id);
    // A service that may read sees what an administrator sees.
    if caller.confined_to().is_some() {
        check(&caller, id)?;
    }
    let tenant = caller.begin().await?;
    user::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("user"))?;
    let grants = grant::of(&tenant, id).await?;
    tenant.commit().await?;
    let shown = |grants: Vec<grant::Grant>| grants.into_iter().map(SendGrant::from).collect();
    Ok(Json(SendGrants { given: shown(grants.given), received: shown(grants.received) }))
}

/// Let another user send in this one's name; doing it again changes nothing. For the user, and for administrators.
#[utoipa::path(
    put, path = "/users/{id}/send-grants/{user}", tag = "users", security(("key" = ["any"])),
    extensions(
        ("x-audience" = json!("own")),
        ("x-unconditional" = json!("a grant is there or it is not: nothing is overwritten"))
    ),
    params(
        ("id" = Uuid, Path, description = "The user in whose name may be sent"),
        ("user" = Uuid, Path, description = "The user who may")
    ),
    responses((status = 204, description = "Granted"))
)]
async fn give(caller: Caller, Path((id, user)): Path<(Uuid, Uuid)>) -> Result<StatusCode, Problem> {
    check(&caller, UserId(id))?;
    let tenant = caller.begin().await?;
    grant::give(&tenant, UserId(id), UserId(user), caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take the grant back; doing it again changes nothing. What waits to be sent on its right is a draft again, with an alert.
#[utoipa::path(
    delete, path = "/users/{id}/send-grants/{user}", tag = "users", security(("key" = ["any"])),
    extensions(
        ("x-audience" = json!("own")),
        ("x-unconditional" = json!("a grant is there or it is not: nothing is overwritten"))
    ),
    params(
        ("id" = Uuid, Path, description = "The user in whose name was sent"),
        ("user" = Uuid, Path, description = "The user who may no more")
    ),
    responses((status = 204, description = "Taken back"))
)]
async fn take_back(caller: Caller, Path((id, user)): Path<(Uuid, Uuid)>) -> Result<StatusCode, Problem> {
    check(&caller, UserId(id))?;
    let tenant = caller.begin().await?;
    grant::take_back(&tenant, UserId(id), UserId(user), caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

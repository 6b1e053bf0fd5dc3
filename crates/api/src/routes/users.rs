//! Users: the people of an organization.

mod grants;

use axum::http::StatusCode;
use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::UserId;
use model::mailbox::Role;
use serde::{Deserialize, Serialize};
use store::Called;
use store::user::{self, NewUser, UserUpdate};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::owner::same_external_id;
use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::schema;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(upsert))
        .routes(routes!(get, update))
        .merge(grants::routes())
}

/// A user to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUser)]
struct UserToMake {
    /// The name to show, 1 to 200 characters.
    name: String,
    /// The address, unique among the organization's users.
    #[schema(value_type = String, format = Email)]
    address: EmailAddress,
    /// What they may do; `user` when left out.
    #[schema(value_type = Option<schema::Role>)]
    role: Option<Role>,
    /// The host application's id.
    external_id: Option<String>,
}

/// What to change of a user; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
struct UserChange {
    /// The name to show, 1 to 200 characters.
    name: Option<String>,
    /// The address.
    #[schema(value_type = Option<String>, format = Email)]
    address: Option<EmailAddress>,
    /// What they may do.
    #[schema(value_type = Option<schema::Role>)]
    role: Option<Role>,
    /// Whether they may sign in. One who leaves is made inactive: their keys open nothing, their mailbox stops, and what
    /// they had waiting to be sent is a draft again.
    active: Option<bool>,
}

/// A person who uses the application.
#[derive(Serialize, ToSchema)]
struct User {
    /// Which.
    id: Uuid,
    /// The name to show.
    name: String,
    /// The address.
    address: String,
    /// What they may do.
    #[schema(value_type = schema::Role)]
    role: Role,
    /// Whether they may sign in.
    active: bool,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
}

impl From<user::User> for User {
    fn from(user: user::User) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            address: user.address,
            role: user.role,
            active: user.active,
            external_id: user.external_id,
            version: user.version,
            created_at: user.created_at,
            modified_at: user.modified_at,
        }
    }
}

fn answer(user: user::User) -> Versioned<Json<User>> {
    Versioned(user.version, Json(user.into()))
}

/// Which users.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// With this name, whatever its case.
    name: Option<String>,
    /// With this address, whatever its case.
    address: Option<String>,
    /// With this id of the host application.
    external_id: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Make a user.
#[utoipa::path(
    post, path = "/users", tag = "users", security(("key" = ["administer"])),
    request_body = UserToMake, responses((status = 201, body = User))
)]
async fn create(
    caller: Caller,
    Json(new): Json<UserToMake>,
) -> Result<(StatusCode, Versioned<Json<User>>), Problem> {
    let new = NewUser {
        name: new.name,
        address: new.address,
        role: new.role.unwrap_or(Role::User),
        external_id: new.external_id,
    };
    let tenant = caller.begin().await?;
    let user = user::create(&tenant, &new, caller.author()).await?;
    tenant.commit().await?;
    Ok((StatusCode::CREATED, answer(user)))
}

/// Make the user with this external id so, or make one: what a host application says of its people, over and over. A role
/// that is left out stays as it is.
#[utoipa::path(
    put, path = "/users/by-external-id/{external_id}", tag = "users", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("the host application's record is the one that counts"))),
    params(("external_id" = String, Path, description = "The host application's id")),
    request_body = UserToMake,
    responses((status = 200, body = User), (status = 201, description = "It is new", body = User))
)]
async fn upsert(
    caller: Caller,
    Path(external_id): Path<String>,
    Json(new): Json<UserToMake>,
) -> Result<(StatusCode, Versioned<Json<User>>), Problem> {
    same_external_id(&external_id, new.external_id.as_ref())?;
    let role = new.role;
    let new =
        NewUser { name: new.name, address: new.address, role: role.unwrap_or(Role::User), external_id: None };
    let tenant = caller.begin().await?;
    let (user, is_new) = user::upsert(&tenant, &external_id, &new, role, caller.author()).await?;
    tenant.commit().await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, answer(user)))
}

/// All users, in the order they were made.
#[utoipa::path(
    get, path = "/users", tag = "users", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(UserQuery), responses((status = 200, body = Page<User>))
)]
async fn list(caller: Caller, Query(query): Query<UserQuery>) -> Result<Json<Page<User>>, Problem> {
    let wanted = Wanted::<UserId>::new("users", query.limit, query.cursor.as_deref())?;
    let narrowed = Called { name: query.name, address: query.address, external_id: query.external_id };
    let tenant = caller.begin().await?;
    let users = user::list(&tenant, &narrowed, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(users, |user| user.id.to_string(), User::from)))
}

/// One user.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(("id" = Uuid, Path, description = "The user")), responses((status = 200, body = User))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<User>>, Problem> {
    let tenant = caller.begin().await?;
    let user = user::get(&tenant, UserId(id)).await?.ok_or_else(|| Problem::not_found("user"))?;
    tenant.commit().await?;
    Ok(answer(user))
}

/// Change a user.
#[utoipa::path(
    patch, path = "/users/{id}", tag = "users", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = UserChange, responses((status = 200, body = User))
)]
async fn update(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<UserChange>,
) -> Result<Versioned<Json<User>>, Problem> {
    let change =
        UserUpdate { name: change.name, address: change.address, role: change.role, active: change.active };
    let tenant = caller.begin().await?;
    let user = user::update(&tenant, UserId(id), version, &change, caller.author()).await?;
    tenant.commit().await?;
    Ok(answer(user))
}

//! Who the key speaks for.

use model::actor::Scope;
use model::mailbox::Role;
use serde::Serialize;
use store::{organization, user};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(me))
}

/// Whom the key of the request speaks for.
#[derive(Serialize, ToSchema)]
struct Me {
    /// The organization; everything the key sees is in it.
    organization: MyOrganization,
    /// The key.
    key: Uuid,
    /// The user, unless it is a service key.
    user: Option<MyUser>,
    /// What a service key may do; empty for a user's key.
    #[schema(value_type = Vec<schema::KeyScope>)]
    scopes: Vec<Scope>,
    /// Whether the key administers the organization.
    administers: bool,
}

/// The caller's organization.
#[derive(Serialize, ToSchema)]
struct MyOrganization {
    /// Which.
    id: Uuid,
    /// Its name.
    name: String,
}

/// The caller.
#[derive(Serialize, ToSchema)]
struct MyUser {
    /// Which.
    id: Uuid,
    /// The name to show.
    name: String,
    /// The address.
    address: String,
    /// What they may do.
    #[schema(value_type = schema::Role)]
    role: Role,
}

/// Whom the key speaks for and what it may do.
#[utoipa::path(
    get, path = "/me", tag = "me", security(("key" = ["any"])),
    extensions(("x-audience" = json!("own"))), responses((status = 200, body = Me))
)]
async fn me(caller: Caller) -> Result<Json<Me>, Problem> {
    let principal = caller.principal();
    let tenant = caller.begin().await?;
    let organization = organization::get(&tenant).await?.ok_or_else(|| Problem::not_found("organization"))?;
    let user = match principal.user {
        Some((id, _)) => user::get(&tenant, id).await?,
        None => None,
    };
    tenant.commit().await?;
    Ok(Json(Me {
        organization: MyOrganization { id: organization.id.0, name: organization.name },
        key: principal.key.0,
        user: user.map(|user| MyUser {
            id: user.id.0,
            name: user.name,
            address: user.address,
            role: user.role,
        }),
        scopes: principal.scopes.clone(),
        administers: principal.administers(),
    }))
}

//! API keys. A key's secret is in the answer to its creation and nowhere else, ever.

use axum::Extension;
use axum::http::StatusCode;
use jiff::Timestamp;
use model::actor::{Principal, Scope};
use model::id::{KeyId, UserId};
use model::secret::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use store::key::{self, KeyOwner};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::idempotency::ShownOnce;
use crate::page::{Page, Wanted};
use crate::problem::{Kind, Problem};
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A key to make: of a user, or a service key with scopes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// What it is for, 1 to 200 characters.
    name: String,
    /// Whose it is, with everything that user may do. Leave it out for a service key.
    user: Option<Uuid>,
    /// What a service key may do; at least one. Not for a user's key.
    #[serde(default)]
    #[schema(value_type = Vec<schema::KeyScope>, required = false)]
    scopes: Vec<Scope>,
}

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
struct Key {
    /// Which.
    id: Uuid,
    /// What it is for.
    name: String,
    /// Whose it is; null for a service key.
    user: Option<Uuid>,
    /// What a service key may do; empty for a user's key.
    #[schema(value_type = Vec<schema::KeyScope>)]
    scopes: Vec<Scope>,
    /// Since when.
    created_at: Timestamp,
    /// When it was withdrawn; null while it is valid.
    revoked_at: Option<Timestamp>,
}

/// A new key with its secret: the only time that it is shown.
#[derive(Serialize, ToSchema)]
struct CreatedKey {
    /// Which.
    id: Uuid,
    /// What it is for.
    name: String,
    /// The secret, `lk_…`: keep it now, it is never shown again.
    key: String,
}

/// Which keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeyQuery {
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl From<key::Key> for Key {
    fn from(key: key::Key) -> Self {
        let (user, scopes) = match key.owner {
            KeyOwner::User(user) => (Some(user.0), Vec::new()),
            KeyOwner::Service(scopes) => (None, scopes),
        };
        Self {
            id: key.id.0,
            name: key.name,
            user,
            scopes,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// Make an API key. A service key makes only service keys, with no scope that it has not itself.
#[utoipa::path(
    post, path = "/keys", tag = "keys", security(("key" = ["administer"])),
    request_body = NewKey, responses((status = 201, body = CreatedKey))
)]
async fn create(
    caller: Caller,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, Extension<ShownOnce>, Json<CreatedKey>), Problem> {
    if !(1..=200).contains(&new.name.chars().count()) {
        return Err(Problem::invalid("name", "`name` is empty or too long", "give it 1 to 200 characters"));
    }
    let owner = match (new.user, new.scopes.is_empty()) {
        (Some(user), true) => KeyOwner::User(UserId(user)),
        (None, false) => KeyOwner::Service(new.scopes),
        (Some(_), false) => {
            let cause = "a user's key has no scopes: it may do what the user may";
            return Err(Problem::invalid("scopes", cause, "leave out `scopes` or `user`"));
        }
        (None, true) => {
            let cause = "the key has neither a user nor a scope";
            return Err(Problem::invalid("scopes", cause, "give `user`, or `scopes` for a service key"));
        }
    };
    no_more_than_own(caller.principal(), &owner)?;
    let tenant = caller.begin().await?;
    let (id, secret) = key::create(&tenant, &new.name, &owner, caller.author()).await?;
    tenant.commit().await?;
    let key = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(CreatedKey { id: id.0, name: new.name, key })))
}

/// A user who administers the organization makes any key. A service key that administers makes service keys with scopes of
/// its own alone: it could otherwise lend itself the mail that it may not read, or the name of a person.
fn no_more_than_own(principal: &Principal, wanted: &KeyOwner) -> Result<(), Problem> {
    if principal.user.is_some() {
        return Ok(());
    }
    match wanted {
        KeyOwner::User(_) => Err(Problem::new(
            Kind::Forbidden,
            "a service key makes no key that speaks for a person",
            "let an administrator make it with a key of their own",
        )
        .about("user")),
        KeyOwner::Service(scopes) => match scopes.iter().find(|scope| !principal.scopes.contains(scope)) {
            Some(scope) => Err(Problem::new(
                Kind::Forbidden,
                format!("a key makes none that may do more than itself, and this one lacks `{scope}`"),
                "leave the scope out, or let an administrator make the key with one of their own",
            )
            .about("scopes")),
            None => Ok(()),
        },
    }
}

/// All API keys, the newest first, without their secrets.
#[utoipa::path(
    get, path = "/keys", tag = "keys", security(("key" = ["administer"])),
    params(KeyQuery), responses((status = 200, body = Page<Key>))
)]
async fn list(caller: Caller, Query(query): Query<KeyQuery>) -> Result<Json<Page<Key>>, Problem> {
    let wanted = Wanted::<Uuid>::new("keys", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let mut keys = key::list(&tenant).await?;
    tenant.commit().await?;
    if let Some(after) = wanted.after {
        keys.retain(|key| key.id.0 < after);
    }
    Ok(Json(wanted.page(keys, |key| key.id.to_string(), Key::from)))
}

/// Withdraw an API key; doing it again changes nothing.
#[utoipa::path(
    delete, path = "/keys/{id}", tag = "keys", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("a key never changes but to be withdrawn"))),
    params(("id" = Uuid, Path, description = "The key")), responses((status = 204, description = "Withdrawn"))
)]
async fn revoke(caller: Caller, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    key::revoke(&tenant, KeyId(id), caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

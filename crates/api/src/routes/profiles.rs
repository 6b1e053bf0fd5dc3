//! Email server profiles: where a mail server is, how it is reached, and how much of it may be used at once.

mod rates;
mod shape;

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use mail::oauth::Address;
use model::id::ProfileId;
use model::job::{JobKind, TestProfile};
use model::secret::Secret;
use serde::Deserialize;
use serde_json::json;
use store::Called;
use store::profile::{self, ProfileFields};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) use self::shape::Location;
use self::shape::{NewProfile, Profile, ProfileChange};
use super::jobs::{Job, started};
use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::host;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(set_credential))
        .routes(routes!(test))
        .merge(rates::routes())
}

/// A user name and a password; it goes in and never comes out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCredential {
    /// The login name at the mail server, 1 to 320 characters.
    pub(super) username: String,
    /// The password. It is sealed and never shown again.
    #[schema(value_type = String, format = Password, write_only)]
    pub(super) password: Secret,
}

impl NewCredential {
    pub(super) fn check(&self) -> Result<(), Problem> {
        use model::secret::ExposeSecret as _;
        let password = self.password.expose_secret();
        // No protocol can say it, and some would take what follows for a command.
        if password.contains(['\r', '\n']) {
            return Err(Problem::invalid(
                "password",
                "`password` has a line break",
                "give the password alone; one that was read from a file often ends with a line break",
            ));
        }
        if (1..=4096).contains(&password.len()) {
            return Ok(());
        }
        Err(Problem::invalid(
            "password",
            "`password` is empty or longer than 4096 bytes",
            "give the password",
        ))
    }
}

/// Which profiles.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProfileQuery {
    /// With this name, whatever its case.
    name: Option<String>,
    /// With this id of the host application.
    external_id: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

fn answer(profile: profile::Profile) -> Versioned<Json<Profile>> {
    Versioned(profile.version, Json(profile.into()))
}

/// Both hosts of a profile must resolve, now, to something that profiles may lead to. What autodiscover finds is held to the same
/// when it is connected to.
async fn check_hosts(app: &App, fields: &ProfileFields) -> Result<(), Problem> {
    let deadline = Duration::from_secs(app.config.resolve_seconds);
    if let Some(exchange) = fields.exchange.as_ref().filter(|exchange| exchange.path.is_none()) {
        let start = exchange.start.as_deref().and_then(|start| Address::parse(start).ok());
        let Some(start) = start else { return Ok(()) };
        let field = "exchange.autodiscover_url";
        return host::check(field, &start.host(), start.port(), &app.network, deadline).await;
    }
    for (field, endpoint) in [("incoming.host", &fields.incoming), ("outgoing.host", &fields.outgoing)] {
        host::check(field, &endpoint.host, endpoint.port, &app.network, deadline).await?;
    }
    Ok(())
}

/// Make a profile. Its host names are resolved once: one without an address, or in a closed network, is refused.
/// Whether the servers answer is found by testing a mailbox.
#[utoipa::path(
    post, path = "/profiles", tag = "profiles", security(("key" = ["administer"])),
    request_body = NewProfile, responses((status = 201, body = Profile))
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewProfile>,
) -> Result<(StatusCode, Versioned<Json<Profile>>), Problem> {
    let fields = new.fields()?;
    check_hosts(&app, &fields).await?;
    let tenant = caller.begin().await?;
    let profile = profile::create(&tenant, &fields, caller.author()).await?;
    tenant.commit().await?;
    Ok((StatusCode::CREATED, answer(profile)))
}

/// All profiles, in the order they were made.
#[utoipa::path(
    get, path = "/profiles", tag = "profiles", security(("key" = ["oversee"])),
    params(ProfileQuery), responses((status = 200, body = Page<Profile>))
)]
async fn list(caller: Caller, Query(query): Query<ProfileQuery>) -> Result<Json<Page<Profile>>, Problem> {
    let wanted = Wanted::<ProfileId>::new("profiles", query.limit, query.cursor.as_deref())?;
    let narrowed = Called { name: query.name, address: None, external_id: query.external_id };
    let tenant = caller.begin().await?;
    let profiles = profile::list(&tenant, &narrowed, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(profiles, |profile| profile.id.to_string(), Profile::from)))
}

/// One profile.
#[utoipa::path(
    get, path = "/profiles/{id}", tag = "profiles", security(("key" = ["oversee"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 200, body = Profile))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Profile>>, Problem> {
    let tenant = caller.begin().await?;
    let profile = profile::get(&tenant, ProfileId(id)).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    Ok(answer(profile))
}

/// Change a profile. One that leads to another server stops its mailboxes until they are tested and enabled again.
#[utoipa::path(
    patch, path = "/profiles/{id}", tag = "profiles", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The profile"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = ProfileChange, responses((status = 200, body = Profile))
)]
async fn update(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<ProfileChange>,
) -> Result<Versioned<Json<Profile>>, Problem> {
    let id = ProfileId(id);
    let tenant = caller.begin().await?;
    let old = profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    // Resolving takes its time; nothing is held meanwhile, and the version tells whether somebody came between.
    tenant.commit().await?;
    let paused = change.paused;
    let fields = change.applied(old.fields.clone())?;
    let elsewhere = fields.incoming != old.fields.incoming || fields.outgoing != old.fields.outgoing;
    if elsewhere || fields.exchange != old.fields.exchange {
        check_hosts(&app, &fields).await?;
    }
    let expected = Some(version.unwrap_or(old.version));
    let tenant = caller.begin().await?;
    profile::update(&tenant, id, expected, &fields, caller.author()).await?;
    match paused {
        Some(true) => profile::pause(&tenant, id, "paused by an administrator", caller.author()).await?,
        Some(false) => profile::resume(&tenant, id, caller.author()).await?,
        None => false,
    };
    let profile = profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    Ok(answer(profile))
}

/// Remove a profile that no mailbox uses.
#[utoipa::path(
    delete, path = "/profiles/{id}", tag = "profiles", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The profile"),
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
    profile::delete(&tenant, ProfileId(id), version, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Store the profile's user name and password, where credentials live on the profile. Write only.
#[utoipa::path(
    put, path = "/profiles/{id}/credential", tag = "profiles", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("nobody can have read what it replaces"))),
    params(("id" = Uuid, Path, description = "The profile")),
    request_body = NewCredential, responses((status = 204, description = "Stored"))
)]
async fn set_credential(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewCredential>,
) -> Result<StatusCode, Problem> {
    new.check()?;
    let id = ProfileId(id);
    let tenant = caller.begin().await?;
    profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    profile::set_password(&tenant, &app.keys, id, &new.username, &new.password, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test and enable every mailbox of the profile: one job, which starts another for each mailbox and counts what comes of them.
/// Those that cannot be tested are named in its steps with the reason. Withdrawing it withdraws what it started.
#[utoipa::path(
    post, path = "/profiles/{id}/test", tag = "profiles", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 202, body = Job))
)]
async fn test(caller: Caller, Path(id): Path<Uuid>) -> Result<(StatusCode, Json<Job>), Problem> {
    let id = ProfileId(id);
    let tenant = caller.begin().await?;
    profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    started(&caller, JobKind::TestProfile, json!(TestProfile { profile: id })).await
}

//! Signing in by OAuth 2.0: the application of a profile, and the links by which people consent. The secret goes in and
//! never out; what a link leads back to is in `callback`.

mod callback;
mod page;

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mail::oauth::{Address, Verifier, authorize_url};
use model::credential::GrantType;
use model::id::{MailboxId, ProfileId};
use model::mailbox::Owner;
use model::secret::Secret;
use serde::{Deserialize, Serialize};
use store::credential::CredentialOwner;
use store::oauth::{self, ApplicationFields};
use store::{mailbox, profile};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::presets;
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::host;
use crate::idempotency::ShownOnce;
use crate::problem::{Kind, Problem};
use crate::schema;
use crate::version::Versioned;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show, set, remove))
        .routes(routes!(ask_for_profile))
        .routes(routes!(ask_for_mailbox))
}

/// What stands outside of the versioned paths.
pub(super) fn open() -> OpenApiRouter<App> {
    callback::routes()
}

/// An application to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewApplication {
    /// A provider whose addresses and scopes are taken where none are given.
    #[schema(example = "google")]
    preset: Option<String>,
    /// How it gets its tokens: by people's consent, or by its own secret (credentials on the profile then).
    #[schema(value_type = schema::GrantType)]
    grant: GrantType,
    /// Where people consent, with what the provider wants in its query; for `authorization_code`.
    authorize_url: Option<String>,
    /// Where tokens are given out.
    token_url: Option<String>,
    /// Its name at the provider.
    client_id: String,
    /// Its secret there. It is sealed and never shown again. Left out: the one that is stored stays, or there is none.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    client_secret: Option<Secret>,
    /// When the provider will not take the secret any more; an alert says so ahead.
    client_secret_expires_at: Option<Timestamp>,
    /// What to ask for, separated by spaces.
    scopes: Option<String>,
    /// What the provider calls itself in each answer to a consent (RFC 9207), as `issuer` is in its metadata; for
    /// providers whose metadata has `authorization_response_iss_parameter_supported`. An answer under another name, or
    /// under none, is not taken then. Left out: a name that comes must be of the host of one of the addresses.
    #[schema(example = "https://login.example.com")]
    issuer: Option<String>,
}

impl NewApplication {
    fn fields(self) -> Result<(ApplicationFields, Option<Secret>), Problem> {
        let preset = presets::named(self.preset.as_ref())?;
        let known = preset.and_then(|preset| preset.oauth);
        let by_consent = self.grant == GrantType::AuthorizationCode;
        let lacks = |field: &'static str| {
            Problem::invalid(
                field,
                format!("`{field}` is not given, and no preset has it"),
                "give it, or name a `preset` that has it (GET /api/v1/presets)",
            )
        };
        let token_url = self.token_url.or(known.map(|known| known.token_url.to_owned()));
        let authorize_url =
            self.authorize_url.or(known.filter(|_| by_consent).map(|known| known.authorize_url.to_owned()));
        let scopes = if by_consent {
            known.map(|known| known.scopes)
        } else {
            known.and_then(|known| known.application_scopes)
        };
        Ok((
            ApplicationFields {
                grant: self.grant,
                authorize_url,
                token_url: token_url.ok_or_else(|| lacks("token_url"))?,
                client_id: self.client_id,
                scopes: self.scopes.or(scopes.map(str::to_owned)).ok_or_else(|| lacks("scopes"))?,
                issuer: self.issuer.filter(|issuer| !issuer.is_empty()),
                secret_expires_at: self.client_secret_expires_at,
            },
            self.client_secret,
        ))
    }
}

/// What may be shown of an application.
#[derive(Serialize, ToSchema)]
struct Application {
    /// How it gets its tokens.
    #[schema(value_type = schema::GrantType)]
    grant: GrantType,
    /// Where people consent.
    authorize_url: Option<String>,
    /// Where tokens are given out.
    token_url: String,
    /// Its name at the provider.
    client_id: String,
    /// Whether a secret is stored.
    has_secret: bool,
    /// When the provider will not take the secret any more.
    client_secret_expires_at: Option<Timestamp>,
    /// What it asks for, separated by spaces.
    scopes: String,
    /// What the provider calls itself in each answer to a consent.
    issuer: Option<String>,
    /// Where consent leads back to: register this address at the provider.
    redirect_uri: String,
    /// Raised by each change.
    version: i64,
    /// Last changed.
    modified_at: Timestamp,
}

fn shown(app: &App, application: oauth::Application) -> Application {
    let fields = application.fields;
    Application {
        grant: fields.grant,
        authorize_url: fields.authorize_url,
        token_url: fields.token_url,
        client_id: fields.client_id,
        has_secret: application.has_secret,
        client_secret_expires_at: fields.secret_expires_at,
        scopes: fields.scopes,
        issuer: fields.issuer,
        redirect_uri: redirect_uri(app),
        version: application.version,
        modified_at: application.modified_at,
    }
}

fn answer(app: &App, application: oauth::Application) -> Versioned<Json<Application>> {
    Versioned(application.version, Json(shown(app, application)))
}

/// Where consent leads back to.
fn redirect_uri(app: &App) -> String {
    let base = match app.config.public_url.trim_end_matches('/') {
        "" => format!("http://{}", app.config.listen),
        url => url.to_owned(),
    };
    format!("{base}{}", callback::PATH)
}

/// The application of a profile. Its secret is never shown.
#[utoipa::path(
    get, path = "/profiles/{id}/oauth", tag = "profiles", security(("key" = ["oversee"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 200, body = Application))
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Versioned<Json<Application>>, Problem> {
    let tenant = caller.begin().await?;
    let application = oauth::application(&tenant, ProfileId(id)).await?;
    tenant.commit().await?;
    let application = application.ok_or_else(|| Problem::not_found("profile"))?;
    Ok(answer(&app, application))
}

/// Store how Lockstep is known at the profile's provider. With another application or token server everybody has to
/// consent again; another secret of the same application goes into use at once.
#[utoipa::path(
    put, path = "/profiles/{id}/oauth", tag = "profiles", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("the application is given as a whole, as a password is"))),
    params(("id" = Uuid, Path, description = "The profile")),
    request_body = NewApplication, responses((status = 200, body = Application))
)]
async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewApplication>,
) -> Result<Versioned<Json<Application>>, Problem> {
    let id = ProfileId(id);
    let tenant = caller.begin().await?;
    profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    let (fields, secret) = new.fields()?;
    check_secret(secret.as_ref())?;
    let deadline = Duration::from_secs(app.config.resolve_seconds);
    let token = address("token_url", &fields.token_url)?;
    host::check("token_url", &token.host(), token.port(), &app.network, deadline).await?;
    if let Some(url) = &fields.authorize_url {
        // A browser goes there, not Lockstep: only its form matters.
        address("authorize_url", url)?;
    }
    if let Some(issuer) = &fields.issuer {
        address("issuer", issuer)?;
    }
    let tenant = caller.begin().await?;
    let application = oauth::set(&tenant, &app.keys, id, &fields, secret.as_ref(), caller.author()).await?;
    tenant.commit().await?;
    Ok(answer(&app, application))
}

/// Forget a profile's application, and all tokens that it was given.
#[utoipa::path(
    delete, path = "/profiles/{id}/oauth", tag = "profiles", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("a withdrawn application is gone, whatever it was"))),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 204, description = "Forgotten"))
)]
async fn remove(caller: Caller, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    if !oauth::remove(&tenant, ProfileId(id), caller.author()).await? {
        return Err(Problem::not_found("profile"));
    }
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn address(field: &'static str, text: &str) -> Result<Address, Problem> {
    Address::parse(text).map_err(|bad| {
        Problem::invalid(
            field,
            format!("`{field}`: {bad}"),
            "give the address that the provider's documentation names",
        )
    })
}

fn check_secret(secret: Option<&Secret>) -> Result<(), Problem> {
    use model::secret::ExposeSecret as _;
    let fits = secret.is_none_or(|secret| {
        let text = secret.expose_secret();
        (1..=4096).contains(&text.len()) && !text.chars().any(char::is_control)
    });
    if fits {
        return Ok(());
    }
    Err(Problem::invalid(
        "client_secret",
        "`client_secret` is empty, longer than 4096 bytes, or has a line break",
        "give the secret alone; one that was read from a file often ends with a line break",
    ))
}

/// A consent to ask for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewConsent {
    /// Who is to consent: the login that the profile's mailboxes are read with.
    username: String,
}

/// A link by which somebody consents.
#[derive(Serialize, ToSchema)]
struct Consent {
    /// To be opened by whoever owns the mailbox, once. Whoever has the link decides whose mailbox it becomes: pass it on
    /// as carefully as a password.
    url: String,
    /// Who is to sign in there.
    username: String,
    /// For how many seconds it holds.
    expires_in_seconds: u64,
}

/// Ask for the consent that opens all mailboxes of a profile, where credentials live on the profile.
#[utoipa::path(
    post, path = "/profiles/{id}/consent", tag = "profiles", security(("key" = ["administer"])),
    params(("id" = Uuid, Path, description = "The profile")),
    request_body = NewConsent, responses((status = 201, body = Consent))
)]
async fn ask_for_profile(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewConsent>,
) -> Result<(StatusCode, Extension<ShownOnce>, Json<Consent>), Problem> {
    let id = ProfileId(id);
    let tenant = caller.begin().await?;
    profile::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    tenant.commit().await?;
    ask(&app, &caller, CredentialOwner::Profile(id), Some(&new.username)).await
}

/// Ask for the consent that opens a mailbox: an administrator, or the user whose mailbox it is.
#[utoipa::path(
    post, path = "/mailboxes/{id}/consent", tag = "mailboxes", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The mailbox")), responses((status = 201, body = Consent))
)]
async fn ask_for_mailbox(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Extension<ShownOnce>, Json<Consent>), Problem> {
    let id = MailboxId(id);
    let tenant = caller.begin().await?;
    let mailbox = mailbox::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    if !caller.sees(&tenant, mailbox.owner).await? {
        return Err(Problem::not_found("mailbox"));
    }
    tenant.commit().await?;
    let principal = caller.principal();
    let own = principal.user.is_some_and(|(user, _)| mailbox.owner == Some(Owner::User(user)));
    if !own && !principal.administers() {
        return Err(Problem::new(
            Kind::Forbidden,
            "what a mailbox signs in with is not yours to decide",
            "ask an administrator; for the own mailbox a user may",
        ));
    }
    ask(&app, &caller, CredentialOwner::Mailbox(id), None).await
}

async fn ask(
    app: &App,
    caller: &Caller,
    owner: CredentialOwner,
    username: Option<&str>,
) -> Result<(StatusCode, Extension<ShownOnce>, Json<Consent>), Problem> {
    let verifier = Verifier::new();
    let redirect = redirect_uri(app);
    let tenant = caller.begin().await?;
    let asked =
        oauth::ask(&tenant, &app.keys, owner, username, &redirect, verifier.secret(), caller.author())
            .await?;
    tenant.commit().await?;
    let authorize = asked.application.fields.authorize_url.as_deref().unwrap_or_default();
    let authorize = address("authorize_url", authorize)?;
    let application = callback::known(&asked.application).map_err(|_| Problem::internal())?;
    let url =
        authorize_url(&authorize, &application, &redirect, &asked.state, &verifier, Some(&asked.username));
    let expires_in_seconds = asked.holds.as_secs();
    // What the link holds is kept nowhere, not even as an answer.
    Ok((
        StatusCode::CREATED,
        Extension(ShownOnce),
        Json(Consent { url, username: asked.username, expires_in_seconds }),
    ))
}

//! Presets: what is known of the large providers, to make profiles from.

use model::endpoint::Tls;
use model::preset::{self, PRESETS};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::profiles::Location;
use crate::app::App;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A provider that many mailboxes are at.
#[derive(Serialize, ToSchema)]
struct Preset {
    /// What it is asked for by.
    #[schema(example = "google")]
    name: &'static str,
    /// What people call it.
    title: &'static str,
    /// Where mail is read (POP3).
    incoming: Location,
    /// Where mail is submitted (SMTP).
    outgoing: Location,
    /// How an application gets tokens there; null where an app password is the way in.
    oauth: Option<PresetOAuth>,
    /// What one must know first.
    notes: &'static str,
}

/// How an application gets tokens at a provider.
#[derive(Serialize, ToSchema)]
struct PresetOAuth {
    /// Where people consent.
    authorize_url: &'static str,
    /// Where tokens are given out.
    token_url: &'static str,
    /// What to ask for by consent, separated by spaces.
    scopes: &'static str,
    /// What to ask for with client credentials; null where the provider has none for mail.
    application_scopes: Option<&'static str>,
}

/// All presets.
#[derive(Serialize, ToSchema)]
struct Presets {
    /// Sorted by how many mailboxes they have.
    items: Vec<Preset>,
}

impl From<&preset::Preset> for Preset {
    fn from(preset: &preset::Preset) -> Self {
        let location = |(host, port, tls): (&str, u16, Tls)| Location::of(host, port, tls);
        Self {
            name: preset.name,
            title: preset.title,
            incoming: location(preset.incoming),
            outgoing: location(preset.outgoing),
            oauth: preset.oauth.map(|oauth| PresetOAuth {
                authorize_url: oauth.authorize_url,
                token_url: oauth.token_url,
                scopes: oauth.scopes,
                application_scopes: oauth.application_scopes,
            }),
            notes: preset.notes,
        }
    }
}

/// What is known of the large providers: a profile or an application that names one needs to give only what differs.
#[utoipa::path(
    get, path = "/presets", tag = "profiles", security(("key" = ["any"])),
    extensions(("x-audience" = json!("organization"))),
    responses((status = 200, body = Presets))
)]
async fn list(_: Caller) -> Result<Json<Presets>, Problem> {
    Ok(Json(Presets { items: PRESETS.iter().map(Preset::from).collect() }))
}

/// The preset that a request names.
pub(super) fn named(name: Option<&String>) -> Result<Option<&'static preset::Preset>, Problem> {
    let Some(name) = name else { return Ok(None) };
    preset::find(name).map(Some).ok_or_else(|| {
        Problem::invalid(
            "preset",
            "there is no preset of this name",
            format!("the presets are: {}; or leave it out and give everything yourself", preset::names()),
        )
    })
}

//! How much a profile's servers take in a time: whose figures hold, what is given in their place, and what is in force.

use model::endpoint::Endpoint;
use model::id::ProfileId;
use model::rate::{RateLimit, RateProvider, RateScope, RateUnit, in_force};
use serde::{Deserialize, Serialize};
use store::profile;
use store::profile::rate;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get, set))
}

/// So much in any window of that length.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rate {
    /// What it is counted over.
    #[schema(value_type = schema::RateScope)]
    scope: RateScope,
    /// What it counts.
    #[schema(value_type = schema::RateUnit)]
    unit: RateUnit,
    /// How much there may be, at least 1.
    #[schema(minimum = 1)]
    amount: u64,
    /// How long the window is in seconds, 1 to 86400.
    #[schema(minimum = 1, maximum = 86400)]
    window_seconds: u32,
}

/// What a profile is held to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProfileRates {
    /// Whose published figures hold; `auto` when left out.
    #[serde(default = "by_the_host")]
    #[schema(value_type = Option<schema::RateProvider>)]
    provider: RateProvider,
    /// What is given beside them, up to 8: of a scope, unit and window it passes over a figure.
    #[serde(default)]
    rates: Vec<Rate>,
}

/// What a profile is held to, and what that comes to.
#[derive(Serialize, ToSchema)]
struct ProfileRates {
    /// Whose published figures hold.
    #[schema(value_type = schema::RateProvider)]
    provider: RateProvider,
    /// What is given beside them.
    rates: Vec<Rate>,
    /// What holds where mail is read.
    incoming: Vec<Rate>,
    /// What holds where mail is submitted.
    outgoing: Vec<Rate>,
    /// The profile's version, raised by each change; the `ETag`.
    version: i64,
}

const fn by_the_host() -> RateProvider {
    RateProvider::Auto
}

impl From<RateLimit> for Rate {
    fn from(limit: RateLimit) -> Self {
        let RateLimit { scope, unit, amount, window_seconds } = limit;
        Self { scope, unit, amount, window_seconds }
    }
}

impl From<Rate> for RateLimit {
    fn from(rate: Rate) -> Self {
        let Rate { scope, unit, amount, window_seconds } = rate;
        Self { scope, unit, amount, window_seconds }
    }
}

/// What holds at the servers of the profile.
async fn shown(tenant: &store::Tenant, id: ProfileId) -> Result<Versioned<Json<ProfileRates>>, Problem> {
    let profile = profile::get(tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    let (set, version) = rate::get(tenant, id).await?.ok_or_else(|| Problem::not_found("profile"))?;
    let at = |endpoint: &Endpoint, sends: bool| {
        let limits = in_force(set.provider, &set.given, endpoint.protocol, &endpoint.host);
        let holds = limits.into_iter().filter(|limit| sends || limit.unit != RateUnit::Messages);
        holds.map(Rate::from).collect()
    };
    let rates = ProfileRates {
        provider: set.provider,
        rates: set.given.iter().copied().map(Rate::from).collect(),
        incoming: at(&profile.fields.incoming, false),
        outgoing: at(&profile.fields.outgoing, true),
        version,
    };
    Ok(Versioned(version, Json(rates)))
}

/// How much the profile's servers take in a time: whose figures hold, what was given, and what that comes to. Where so much
/// was used, mailboxes wait with the reason `rate_spent`.
#[utoipa::path(
    get, path = "/profiles/{id}/rates", tag = "profiles", security(("key" = ["oversee"])),
    params(("id" = Uuid, Path, description = "The profile")), responses((status = 200, body = ProfileRates))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<ProfileRates>>, Problem> {
    let tenant = caller.begin().await?;
    let rates = shown(&tenant, ProfileId(id)).await?;
    tenant.commit().await?;
    Ok(rates)
}

/// Set whose figures hold and what is given in their place. It holds from the next connection on; what waits because a
/// rate was spent asks anew.
#[utoipa::path(
    put, path = "/profiles/{id}/rates", tag = "profiles", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The profile"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = NewProfileRates, responses((status = 200, body = ProfileRates))
)]
async fn set(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(new): Json<NewProfileRates>,
) -> Result<Versioned<Json<ProfileRates>>, Problem> {
    let id = ProfileId(id);
    let given = new.rates.into_iter().map(RateLimit::from).collect();
    let tenant = caller.begin().await?;
    rate::set(&tenant, id, version, &rate::Rates { provider: new.provider, given }, caller.author()).await?;
    let rates = shown(&tenant, id).await?;
    tenant.commit().await?;
    Ok(rates)
}

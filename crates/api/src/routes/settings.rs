//! The organization's settings, each with its range, default and meaning.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::setting::{self, SettingValue};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::{Kind, Problem};
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, set))
}

/// One setting with its present value.
#[derive(Serialize, ToSchema)]
struct Setting {
    /// Its name.
    name: String,
    /// Its name in the reference system, where it has one.
    reference: Option<String>,
    /// The present value: a number, a name, or true or false.
    value: Value,
    /// Whether somebody set it; otherwise the value is the default.
    is_set: bool,
    /// The value when nobody sets one.
    default: Value,
    /// What it may hold, in words.
    range: String,
    /// What it does.
    meaning: String,
    /// Another one after each change, 0 while nobody set it; the `ETag`.
    version: i64,
}

impl From<SettingValue> for Setting {
    fn from(value: SettingValue) -> Self {
        Self {
            name: value.setting.name.to_owned(),
            reference: value.setting.reference.map(str::to_owned),
            default: value.setting.default(),
            range: value.setting.wanted(),
            meaning: value.setting.meaning.to_owned(),
            value: value.value,
            is_set: value.is_set,
            version: value.version,
        }
    }
}

/// A setting's new value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSetting {
    /// A number, a name, or true or false; null goes back to the default.
    #[serde(deserialize_with = "Value::deserialize")]
    value: Value,
}

/// Which settings.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SettingQuery {
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// All settings, in the order of their registry.
#[utoipa::path(
    get, path = "/settings", tag = "settings", security(("key" = ["oversee"])),
    params(SettingQuery), responses((status = 200, body = Page<Setting>))
)]
async fn list(caller: Caller, Query(query): Query<SettingQuery>) -> Result<Json<Page<Setting>>, Problem> {
    let wanted = Wanted::<String>::new("settings", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let mut settings = setting::list(&tenant).await?;
    tenant.commit().await?;
    if let Some(after) = &wanted.after {
        let place = settings.iter().position(|value| value.setting.name == after);
        settings.drain(..place.map_or(0, |place| place + 1));
    }
    Ok(Json(wanted.page(settings, |value| value.setting.name.to_owned(), Setting::from)))
}

/// One setting.
#[utoipa::path(
    get, path = "/settings/{name}", tag = "settings", security(("key" = ["oversee"])),
    params(("name" = String, Path, description = "The setting's name")), responses((status = 200, body = Setting))
)]
async fn get(caller: Caller, Path(name): Path<String>) -> Result<Versioned<Json<Setting>>, Problem> {
    known(&name)?;
    let tenant = caller.begin().await?;
    let value = setting::get(&tenant, &name).await?;
    tenant.commit().await?;
    Ok(Versioned(value.version, Json(value.into())))
}

/// Set one setting.
#[utoipa::path(
    put, path = "/settings/{name}", tag = "settings", security(("key" = ["administer"])),
    params(
        ("name" = String, Path, description = "The setting's name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = NewSetting, responses((status = 200, body = Setting))
)]
async fn set(
    caller: Caller,
    Path(name): Path<String>,
    IfMatch(version): IfMatch,
    Json(new): Json<NewSetting>,
) -> Result<Versioned<Json<Setting>>, Problem> {
    known(&name)?;
    let value = Some(&new.value).filter(|value| !value.is_null());
    let tenant = caller.begin().await?;
    let value = setting::set(&tenant, &name, version, value, caller.author()).await?;
    tenant.commit().await?;
    Ok(Versioned(value.version, Json(value.into())))
}

fn known(name: &str) -> Result<(), Problem> {
    let names = || model::setting::SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", ");
    match model::setting::find(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new(
            Kind::NotFound,
            "there is no setting of this name",
            format!("use one of: {}", names()),
        )
        .about("name")),
    }
}

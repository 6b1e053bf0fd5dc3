//! The kinds of records of a host application that mail can be about.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::record_type;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(register, remove))
}

/// A type to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRecordType {
    /// What one is called for people, 1 to 100 characters.
    label: String,
    /// What several are called, 1 to 100 characters.
    plural: String,
}

/// A kind of record.
#[derive(Serialize, ToSchema)]
struct RecordType {
    /// The noun in parties, `regarding` and addresses.
    name: String,
    /// What one is called for people.
    label: String,
    /// What several are called.
    plural: String,
    /// Since when; null for `account` and `lead`, which every organization has.
    registered_at: Option<Timestamp>,
}

/// All kinds of records that addresses can be given for.
#[derive(Serialize, ToSchema)]
struct RecordTypes {
    /// By name.
    items: Vec<RecordType>,
}

impl From<record_type::RecordType> for RecordType {
    fn from(known: record_type::RecordType) -> Self {
        let record_type::RecordType { name, label, plural, registered_at } = known;
        Self { name, label, plural, registered_at }
    }
}

/// All kinds of records, those that every organization has included.
#[utoipa::path(
    get, path = "/record-types", tag = "contacts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))), responses((status = 200, body = RecordTypes))
)]
async fn list(caller: Caller) -> Result<Json<RecordTypes>, Problem> {
    let tenant = caller.begin().await?;
    let types = record_type::list(&tenant).await?;
    tenant.commit().await?;
    Ok(Json(RecordTypes { items: types.into_iter().map(RecordType::from).collect() }))
}

/// Register a kind of record of the host application, or rename it; doing it again changes nothing.
#[utoipa::path(
    put, path = "/record-types/{name}", tag = "contacts", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("a type has nothing but what is given here"))),
    params(("name" = String, Path, description = "Up to 50 lower-case letters, digits and `_`, such as `project`")),
    request_body = NewRecordType, responses((status = 200, body = RecordType))
)]
async fn register(
    caller: Caller,
    Path(name): Path<String>,
    Json(new): Json<NewRecordType>,
) -> Result<Json<RecordType>, Problem> {
    let tenant = caller.begin().await?;
    let known = record_type::register(&tenant, &name, &new.label, &new.plural, caller.author()).await?;
    tenant.commit().await?;
    Ok(Json(known.into()))
}

/// Take a kind of record back that no address is of any more.
#[utoipa::path(
    delete, path = "/record-types/{name}", tag = "contacts", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("it is refused while anything is of the type"))),
    params(("name" = String, Path, description = "The type")), responses((status = 204, description = "Removed"))
)]
async fn remove(caller: Caller, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    record_type::remove(&tenant, &name, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

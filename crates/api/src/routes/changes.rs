//! The history of a record: every change with who made it and why.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::change::{self, Entry};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One change of one record.
#[derive(Serialize, ToSchema)]
struct Change {
    /// Its place in the organization's log.
    sequence: i64,
    /// The noun, such as `mailbox`.
    record_type: String,
    /// Which; for a setting the organization.
    record_id: Uuid,
    /// The version that the change made.
    version: i64,
    /// `user`, `key`, `job`, `cycle` or `operator`.
    actor_kind: String,
    /// Which of these.
    actor_id: String,
    /// What made them, such as `api`.
    cause: String,
    /// The W3C trace it belongs to.
    trace: Option<String>,
    /// `{field: {old, new}}`; secrets and bodies are named without values.
    #[schema(value_type = Object)]
    fields: serde_json::Value,
    /// When.
    at: Timestamp,
}

impl From<Entry> for Change {
    fn from(entry: Entry) -> Self {
        Self {
            sequence: entry.sequence,
            record_type: entry.record_type,
            record_id: entry.record_id,
            version: entry.version,
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            cause: entry.cause,
            trace: entry.trace,
            fields: entry.fields,
            at: entry.at,
        }
    }
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeQuery {
    /// The record, as `type:id`, such as `mailbox:0198…`.
    #[param(example = "mailbox:01989c5e-7d5e-7cc0-8000-000000000000")]
    record: String,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The history of one record, the oldest first.
#[utoipa::path(
    get, path = "/changes", tag = "changes", security(("key" = ["oversee"])),
    params(ChangeQuery), responses((status = 200, body = Page<Change>))
)]
async fn list(caller: Caller, Query(query): Query<ChangeQuery>) -> Result<Json<Page<Change>>, Problem> {
    let wanted = Wanted::<i64>::new("changes", query.limit, query.cursor.as_deref())?;
    let record = query.record.split_once(':').and_then(|(kind, id)| Some((kind, id.parse::<Uuid>().ok()?)));
    let Some((kind, id)) = record else {
        let cause = "`record` is not of the form `type:id`";
        return Err(Problem::invalid("record", cause, "give the noun and the id, such as `mailbox:0198…`"));
    };
    let tenant = caller.begin().await?;
    let entries = change::of(&tenant, kind, id, wanted.after.unwrap_or(0), wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(entries, |entry| entry.sequence.to_string(), Change::from)))
}

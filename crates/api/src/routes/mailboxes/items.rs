//! What was seen in a mailbox, and what was decided about each item by which rule.

use jiff::Timestamp;
use model::email::Decision;
use model::id::MailboxId;
use serde::{Deserialize, Serialize};
use store::item::{self, ItemPlace};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::seen;
use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// One item ever seen in a mailbox.
#[derive(Serialize, ToSchema)]
struct MailboxItem {
    /// In which folder; for POP3 the server and login.
    folder: String,
    /// The server's name of it.
    item_id: String,
    /// What was decided.
    #[schema(value_type = schema::Decision)]
    decision: Decision,
    /// By which rule.
    rule: String,
    /// How often it was tried and failed.
    attempts: i32,
    /// When it may be tried again.
    next_try_at: Option<Timestamp>,
    /// Why it failed the last time.
    last_error: Option<String>,
    /// The email it became or joined.
    email: Option<Uuid>,
    /// When the server received it.
    received_at: Option<Timestamp>,
    /// Since when the server lists it no longer.
    gone_at: Option<Timestamp>,
    /// When the server was first asked to delete it, for a queue whose mailbox asks for that.
    delete_asked_at: Option<Timestamp>,
    /// When the server said that it had deleted it, or listed it no longer. Until then it is asked again each cycle.
    deleted_at: Option<Timestamp>,
    /// When it was last decided about.
    seen_at: Timestamp,
    /// Since when somebody wants it to be fetched and judged again; null once that is done.
    examine_again_at: Option<Timestamp>,
}

impl From<item::Item> for MailboxItem {
    fn from(item: item::Item) -> Self {
        Self {
            folder: item.folder,
            item_id: item.item_id,
            decision: item.decision,
            rule: item.rule,
            attempts: item.attempts,
            next_try_at: item.next_try_at,
            last_error: item.last_error,
            email: item.email.map(|id| id.0),
            received_at: item.received_at,
            gone_at: item.gone_at,
            delete_asked_at: item.delete_asked_at,
            deleted_at: item.deleted_at,
            seen_at: item.seen_at,
            examine_again_at: item.examine_again_at,
        }
    }
}

/// Which items.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ItemQuery {
    /// With this decision.
    #[param(value_type = Option<schema::Decision>)]
    decision: Option<Decision>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Everything ever seen in a mailbox with what was decided and why, the latest decision first.
#[utoipa::path(
    get, path = "/mailboxes/{id}/items", tag = "mailboxes", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The mailbox"), ItemQuery),
    responses((status = 200, body = Page<MailboxItem>))
)]
async fn list(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<ItemQuery>,
) -> Result<Json<Page<MailboxItem>>, Problem> {
    let wanted = Wanted::<ItemPlace>::new("items", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let mailbox = seen(&caller, &tenant, MailboxId(id)).await?;
    let owners_own = caller.confined_to().is_some();
    let items =
        item::list(&tenant, mailbox.id, owners_own, query.decision, wanted.after.as_ref(), wanted.limit())
            .await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(items, |item| ItemPlace::of(item).to_string(), MailboxItem::from)))
}

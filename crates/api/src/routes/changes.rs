//! The log of changes: the history of a record with who made each change and why, and the feed that a host application
//! follows to hear of everything.

use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::change::{self, ChangeReader, Cursor, Entry, Feed, FeedFilter};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::page::Wanted;
use crate::problem::{Kind, Problem};

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
    /// The name of what has one, also when it is gone.
    record_name: Option<String>,
    /// The version that the change made.
    version: i64,
    /// `user`, `key`, `job`, `schedule`, `cycle` or `operator`.
    actor_kind: String,
    /// Which of these; empty for a cycle of a mailbox that you do not see.
    actor_id: String,
    /// The name of the person, key or schedule, the job's kind, or the name of the cycle's mailbox; also when it is gone.
    actor_name: Option<String>,
    /// What made them, such as `api`.
    cause: String,
    /// The W3C trace it belongs to.
    trace: Option<String>,
    /// `{field: {old, new}}`; secrets and bodies are named without values.
    #[schema(value_type = Object)]
    fields: serde_json::Value,
    /// When.
    at: Timestamp,
    /// In the feed: give it as `after` to go on behind this change.
    cursor: Option<String>,
}

impl From<Entry> for Change {
    fn from(entry: Entry) -> Self {
        Self {
            sequence: entry.sequence,
            record_type: entry.record_type,
            record_id: entry.record_id,
            record_name: entry.record_name,
            version: entry.version,
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            actor_name: entry.actor_name,
            cause: entry.cause,
            trace: entry.trace,
            fields: entry.fields,
            at: entry.at,
            cursor: None,
        }
    }
}

/// A page of a history, or a part of the feed.
#[derive(Serialize, ToSchema)]
struct Changes {
    /// The changes, the oldest first.
    items: Vec<Change>,
    /// A history: give it as `cursor` to get the next page; null on the last one, and in the feed.
    next_cursor: Option<String>,
    /// The feed: give it as `after` to go on; null in a history.
    after: Option<String>,
    /// The feed: whether more can be had at once.
    more: bool,
    /// The feed: what is committed and waits for an older transaction to end before it is offered; null when nothing does.
    held_back: Option<HeldBack>,
}

/// What waits in the feed.
#[derive(Serialize, ToSchema)]
struct HeldBack {
    /// How many changes, counted up to a thousand.
    changes: i64,
    /// When the oldest of them was made: since then the feed is late.
    since: Timestamp,
}

/// Which changes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChangeQuery {
    /// Of this noun, such as `mailbox`.
    record_type: Option<String>,
    /// The history of the record with this id; of a setting, the organization's.
    record_id: Option<Uuid>,
    /// A history: only what changed this field, such as `owner`.
    field: Option<String>,
    /// The feed: `after` or an item's `cursor` of an earlier answer; `now` for the end of the feed. Left out, the feed begins
    /// with the oldest change that is kept.
    after: Option<String>,
    /// The feed: seconds to wait, 0 to 60, while there is nothing; shorter where the API's own limit is. 0 when left out.
    wait: Option<u32>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// A history: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The history of one record, or the change feed of the organization.
///
/// With `record_id`, the history of that record, the oldest change first, in pages by `cursor`. Without it, the feed:
/// every change there is, in an order that can be resumed. Give `after` of each answer to get what came since; nothing is
/// skipped, however late it was committed, and everything comes at least once. A change is offered once every older
/// transaction has ended, so a transaction that stays open makes the feed late: `held_back` says by how much. A place that
/// lies before what is kept (setting `changes_kept_days`), or in a database that was restored since, is answered 410.
///
/// A user sees changes of what the user may see; administrators, and service keys that may read, see all.
#[utoipa::path(
    get, path = "/changes", tag = "changes", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(ChangeQuery), responses((status = 200, body = Changes))
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ChangeQuery>,
) -> Result<Json<Changes>, Problem> {
    let reader = caller.confined_to().map_or(ChangeReader::Everything, ChangeReader::User);
    match query.record_id {
        Some(id) => history(&caller, reader, id, query).await,
        None => feed(&app, &caller, reader, query).await,
    }
}

async fn history(
    caller: &Caller,
    reader: ChangeReader,
    id: Uuid,
    query: ChangeQuery,
) -> Result<Json<Changes>, Problem> {
    for (field, given) in [("after", query.after.is_some()), ("wait", query.wait.is_some())] {
        if given {
            return Err(Problem::invalid(
                field,
                format!("`{field}` is for the feed, and `record_id` asks for a history"),
                "leave one of the two out; a history goes on by `cursor`",
            ));
        }
    }
    let wanted = Wanted::<i64>::new("changes", query.limit, query.cursor.as_deref())?;
    let (record, field) = ((query.record_type.as_deref(), id), query.field.as_deref());
    let tenant = caller.begin().await?;
    let after = wanted.after.unwrap_or(0);
    let entries = change::history(&tenant, reader, record, field, after, wanted.limit()).await?;
    tenant.commit().await?;
    let page = wanted.page(entries, |entry| entry.sequence.to_string(), Change::from);
    let more = page.next_cursor.is_some();
    Ok(Json(Changes { items: page.items, next_cursor: page.next_cursor, after: None, more, held_back: None }))
}

async fn feed(
    app: &App,
    caller: &Caller,
    reader: ChangeReader,
    query: ChangeQuery,
) -> Result<Json<Changes>, Problem> {
    for (field, given) in [("cursor", query.cursor.is_some()), ("field", query.field.is_some())] {
        if given {
            return Err(Problem::invalid(
                field,
                format!("`{field}` is for the history of a record, and no record is named"),
                "give `record_id`, or `after` to go on in the feed",
            ));
        }
    }
    let wanted = Wanted::<i64>::new("changes", query.limit, None)?;
    let limit = wanted.limit() - 1;
    let wait = query.wait.unwrap_or(0);
    if wait > 60 {
        return Err(Problem::invalid("wait", format!("`wait` cannot be {wait}"), "give 0 to 60 seconds"));
    }
    let filter = FeedFilter { reader, record_type: query.record_type.as_deref() };
    let mut place = match query.after.as_deref() {
        None => None,
        Some("now") => {
            let tenant = caller.begin().await?;
            let head = change::head(&tenant).await?;
            tenant.commit().await?;
            Some(head)
        }
        Some(text) => Some(text.parse::<Cursor>().map_err(|_| {
            Problem::new(
                Kind::Unreadable,
                "`after` is no place in the feed",
                "give `after` or an item's `cursor` of an earlier answer, unchanged, or `now`, or leave it out",
            )
            .about("after")
        })?),
    };
    // The answer must be out before the limit that every request has.
    let longest = Duration::from_secs(app.config.request_timeout_seconds.saturating_sub(2));
    let until = Instant::now() + Duration::from_secs(wait.into()).min(longest);
    let mut waiting = if wait == 0 { None } else { Some(enter(app)?) };
    let mut told = None;
    loop {
        let tenant = caller.begin().await?;
        let found = change::after(&tenant, filter, place, limit).await?;
        let left = until.saturating_duration_since(Instant::now());
        let Some(waiting) = waiting.as_mut().filter(|_| found.entries.is_empty() && !left.is_zero()) else {
            tenant.commit().await?;
            return Ok(Json(answer(found)));
        };
        if told.is_none_or(|told: Instant| told.elapsed() > Duration::from_secs(10)) {
            change::will_wait(&tenant, 20).await?;
            told = Some(Instant::now());
        }
        tenant.commit().await?;
        place = Some(found.next);
        if found.more {
            continue;
        }
        // What is held back is offered when some transaction ends, and nobody says so.
        let look = if found.held_back.is_some() { Duration::from_millis(100) } else { left };
        let organization = caller.principal().organization;
        let _ = tokio::time::timeout(look.min(left), waiting.next(organization)).await;
    }
}

fn enter(app: &App) -> Result<crate::waiting::Waiting<'_>, Problem> {
    app.waiting.enter(&app.store).ok_or_else(|| {
        Problem::new(
            Kind::Unavailable,
            "too many requests wait for changes at the moment",
            "repeat the request in a few seconds, or ask without `wait`",
        )
    })
}

fn answer(feed: Feed) -> Changes {
    let items = feed
        .entries
        .into_iter()
        .map(|(place, entry)| Change { cursor: Some(place.to_string()), ..Change::from(entry) })
        .collect();
    let held_back = feed.held_back.map(|held| HeldBack { changes: held.changes, since: held.since });
    Changes { items, next_cursor: None, after: Some(feed.next.to_string()), more: feed.more, held_back }
}

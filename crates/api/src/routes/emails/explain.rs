//! Why a mail is here, or is not: what became of a Message-ID in every mailbox that the caller may see. An id that nobody
//! has seen is answered with where was looked and when.

use jiff::Timestamp;
use model::email::{Decision, Direction};
use model::explain::explained;
use model::id::MailboxId;
use serde::{Deserialize, Serialize};
use store::{email, item, outgoing};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::shape::Email;
use crate::app::App;
use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;

/// The longest Message-ID that is asked for: a line of a header (RFC 5322 section 2.1.1).
const LONGEST: usize = 998;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Which mail.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExplainQuery {
    /// Its Message-ID, with or without angle brackets.
    message_id: String,
    /// Only in this mailbox.
    mailbox: Option<Uuid>,
}

/// What became of a mail.
#[derive(Serialize, ToSchema)]
struct EmailExplanation {
    /// What was asked for, without angle brackets.
    message_id: String,
    /// Each time it was seen in a mailbox, the first first; a hundred at most. Also where it was not accepted.
    seen: Vec<SeenItem>,
    /// The records with this Message-ID that the caller may see, sent ones with their sending. Two received ones have one
    /// Message-ID and are different mails.
    emails: Vec<Email>,
    /// Where was looked.
    looked_at: LookedAt,
}

/// A message of a mailbox with the Message-ID.
#[derive(Serialize, ToSchema)]
struct SeenItem {
    /// In which mailbox.
    mailbox: Uuid,
    /// Its name.
    mailbox_name: String,
    /// Its address.
    mailbox_address: String,
    /// In which folder; for POP3 the server and login.
    folder: String,
    /// The server's name of it.
    item_id: String,
    /// What was decided.
    #[schema(value_type = schema::Decision)]
    decision: Decision,
    /// By which rule.
    rule: String,
    /// What that means.
    meaning: String,
    /// What would change it.
    remedy: String,
    /// When it was decided.
    seen_at: Timestamp,
    /// When the server received it.
    received_at: Option<Timestamp>,
    /// Since when the server lists it no longer.
    gone_at: Option<Timestamp>,
    /// How often it was tried and failed.
    attempts: i32,
    /// When it may be tried again.
    next_try_at: Option<Timestamp>,
    /// Why it failed the last time.
    last_error: Option<String>,
    /// Since when somebody wants it to be examined again.
    examine_again_at: Option<Timestamp>,
    /// The email it became or joined, when the caller may see it.
    email: Option<Uuid>,
}

/// Where was looked.
#[derive(Serialize, ToSchema)]
struct LookedAt {
    /// In how many mailboxes.
    mailboxes: i64,
    /// A hundred of them at most, those first that were not read for longest.
    listed: Vec<LookedMailbox>,
}

/// A mailbox that was looked into.
#[derive(Serialize, ToSchema)]
struct LookedMailbox {
    /// Which.
    mailbox: Uuid,
    /// Its name.
    name: String,
    /// Its address.
    address: String,
    /// Whether incoming mail is on.
    on: bool,
    /// When it was last read; null when never. What came since is not known yet.
    last_looked_at: Option<Timestamp>,
    /// How that ended.
    last_outcome: Option<String>,
    /// When it is read next.
    due_at: Option<Timestamp>,
    /// Its messages that have not been read so far, so that nobody knows their Message-IDs.
    unread_items: i64,
}

/// Say why a mail is here or is not: what was decided about a Message-ID in each mailbox, by which rule, and what would
/// change it. A user sees the own mailbox and those of the user's queues, an administrator all.
#[utoipa::path(
    get, path = "/emails/explain", tag = "emails", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(ExplainQuery), responses((status = 200, body = EmailExplanation))
)]
async fn explain(
    caller: Caller,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<EmailExplanation>, Problem> {
    let message_id = bare(&query.message_id)?;
    let (reader, mailbox) = (caller.reader(), query.mailbox.map(MailboxId));
    let tenant = caller.begin().await?;
    let search = item::search(&tenant, reader, mailbox).await?;
    if mailbox.is_some() && search.mailboxes == 0 {
        return Err(Problem::not_found("mailbox"));
    }
    let seen = item::by_message_id(&tenant, &message_id, reader, mailbox).await?;
    let mut emails = Vec::new();
    for found in email::by_message_id(&tenant, &message_id, reader).await? {
        // With the receipts, which a list has not.
        let Some(whole) = email::get(&tenant, found.id, reader).await? else { continue };
        let (mut sending, mut earlier, mut reports) = (None, Vec::new(), Vec::new());
        if whole.direction == Direction::Outgoing {
            sending = outgoing::state_of(&tenant, whole.id).await?;
            earlier = outgoing::earlier(&tenant, whole.id).await?;
            reports = outgoing::report::of_email(&tenant, whole.id).await?;
        }
        emails.push((whole.id.0, Email::new(whole, sending, earlier, reports)));
    }
    let mut visible: Vec<Uuid> = emails.iter().map(|(id, _)| *id).collect();
    // A report joins an email with another Message-ID.
    for joined in seen.iter().filter_map(|seen| seen.item.email) {
        if !visible.contains(&joined.0) && email::get(&tenant, joined, reader).await?.is_some() {
            visible.push(joined.0);
        }
    }
    tenant.commit().await?;
    Ok(Json(EmailExplanation {
        message_id,
        seen: seen.into_iter().map(|seen| SeenItem::new(seen, &visible)).collect(),
        emails: emails.into_iter().map(|(_, email)| email).collect(),
        looked_at: LookedAt {
            mailboxes: search.mailboxes,
            listed: search.looked.into_iter().map(LookedMailbox::from).collect(),
        },
    }))
}

/// A Message-ID as it is stored.
fn bare(given: &str) -> Result<String, Problem> {
    let id = given.trim().trim_start_matches('<').trim_end_matches('>').trim();
    if id.is_empty() || id.len() > LONGEST || id.contains(char::is_control) {
        let cause = "this is no Message-ID";
        let remedy = "give the value of the mail's header `Message-ID`, such as <abc@example.com>";
        return Err(Problem::invalid("message_id", cause, remedy));
    }
    Ok(id.to_owned())
}

impl SeenItem {
    fn new(seen: item::Seen, visible: &[Uuid]) -> Self {
        let item = seen.item;
        let words = explained(item.decision, &item.rule, &seen.circumstances);
        Self {
            mailbox: item.mailbox.0,
            mailbox_name: seen.mailbox_name,
            mailbox_address: seen.mailbox_address,
            folder: item.folder,
            item_id: item.item_id,
            decision: item.decision,
            rule: item.rule,
            meaning: words.meaning,
            remedy: words.remedy,
            seen_at: item.seen_at,
            received_at: item.received_at,
            gone_at: item.gone_at,
            attempts: item.attempts,
            next_try_at: item.next_try_at,
            last_error: item.last_error,
            examine_again_at: item.examine_again_at,
            email: item.email.map(|id| id.0).filter(|id| visible.contains(id)),
        }
    }
}

impl From<item::Looked> for LookedMailbox {
    fn from(looked: item::Looked) -> Self {
        Self {
            mailbox: looked.mailbox.0,
            name: looked.name,
            address: looked.address,
            on: looked.on,
            last_looked_at: looked.last_at,
            last_outcome: looked.last_outcome,
            due_at: looked.due_at,
            unread_items: looked.unread,
        }
    }
}

//! Mailbox items: one row per item ever seen, with what was decided. A listing of any length costs one query, and a
//! failed item is tried again from its row, never from the cursor.

mod again;
mod deletion;
mod list;
mod listed;
mod moved;
mod put_away;
mod seen;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use model::email::Decision;
use model::id::{EmailId, MailboxId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::row::{named, wide};
use crate::{Result, Tenant};

pub use again::{Asked, Counted, Extent, PassedOver, ask, ask_some, count, tell};
pub use deletion::{ask_deletion, deleted};
pub use list::{ItemPlace, list};
pub use listed::{Compared, Known, back, came_back, forget, kept, left, mark_gone, set_aside};
pub use moved::{Arrived, KnownFolders, Moved, SEARCH_KEY, moved_here};
pub use put_away::{not_put_away, put_away, to_put_away};
pub use seen::{Looked, Search, Seen, by_message_id, search};

/// An item of a listing that is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its place in the listing.
    pub index: usize,
    /// How often it was tried before.
    pub attempts: u32,
    /// How often in a row its process died while it alone was in hand.
    pub deaths: u32,
}

/// What is to be written about an item.
#[derive(Clone, Debug)]
pub struct ItemDecision {
    /// The provider's name of it.
    pub item_id: String,
    /// What was decided.
    pub decision: Decision,
    /// By which rule.
    pub rule: String,
    /// Its size in bytes.
    pub size: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// How long after a first failure it may be tried again.
    pub retry_after: Duration,
    /// The record it became or joined.
    pub email: Option<EmailId>,
    /// When the server received it.
    pub received_at: Option<Timestamp>,
    /// Its Message-ID without angle brackets, where it could be read. Only a hash of it is stored.
    pub message_id: Option<String>,
    /// What stays the same when it moves, where the server says so.
    pub search_key: Option<Vec<u8>>,
}

/// The failure after which an item is given up (reference 3.10).
const TRIES: i32 = 5;

/// An item as it stands.
#[derive(Clone, Debug)]
pub struct Item {
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// In which folder.
    pub folder: String,
    /// The provider's name of it.
    pub item_id: String,
    /// What was decided.
    pub decision: Decision,
    /// By which rule.
    pub rule: String,
    /// How often it was tried and failed.
    pub attempts: i32,
    /// When it may be tried again.
    pub next_try_at: Option<Timestamp>,
    /// Why it failed the last time.
    pub last_error: Option<String>,
    /// The record it became or joined.
    pub email: Option<EmailId>,
    /// When the server received it.
    pub received_at: Option<Timestamp>,
    /// Since when the server lists it no longer.
    pub gone_at: Option<Timestamp>,
    /// When the server was first asked to delete it.
    pub delete_asked_at: Option<Timestamp>,
    /// When the server said that it had, or no longer listed it.
    pub deleted_at: Option<Timestamp>,
    /// When it was last decided about.
    pub seen_at: Timestamp,
    /// Since when somebody wants it to be fetched and judged again.
    pub examine_again_at: Option<Timestamp>,
}

impl Item {
    /// Whether the decision is for good: what failed is tried again, and what is to be examined again is decided anew.
    pub fn is_settled(&self) -> bool {
        self.decision != Decision::Failed && self.examine_again_at.is_none()
    }
}

/// Which items of a listing have no row yet, are due to be tried again, or are to be examined again, in the order of the
/// listing: `most` of them, those that failed before after all others.
pub async fn unknown(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    listing: &[String],
    most: usize,
) -> Result<Vec<Unknown>> {
    let rows = tenant
        .query(
            // `offset 0` keeps this a look-up by the whole key for each item, whatever the planner believes about the
            // table: a join planned while it was small reads every known item for every listed one.
            "select u.place - 1 as place, coalesce(i.attempts, 0) as attempts, coalesce(i.deaths, 0) as deaths
             from unnest($3::text[]) with ordinality as u(item_id, place)
             left join lateral (
                 select i.item_id, i.attempts, i.deaths, i.decision, i.next_try_at, i.examine_again_at from mailbox_items i
                 where i.organization_id = current_organization() and i.mailbox_id = $1 and i.folder = $2
                   and i.item_id = u.item_id offset 0) as i on true
             where i.item_id is null or (i.decision = 'failed' and i.next_try_at <= now())
                or i.examine_again_at is not null
             order by coalesce(i.attempts > 0 or i.deaths > 0, false), u.place limit $4",
            &[&mailbox.0, &folder, &listing, &i64::try_from(most).unwrap_or(i64::MAX)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Unknown {
                index: usize::try_from(row.try_get::<_, i64>("place")?).unwrap_or(usize::MAX),
                attempts: u32::try_from(row.try_get::<_, i32>("attempts")?).unwrap_or(0),
                deaths: u32::try_from(row.try_get::<_, i32>("deaths")?).unwrap_or(0),
            })
        })
        .collect()
}

/// An item that is to be fetched again, known by its row alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueAgain {
    /// In which folder.
    pub folder: String,
    /// The provider's name of it.
    pub item_id: String,
    /// Its size in bytes, as it was listed.
    pub size: u64,
    /// When the server received it, as far as anyone could tell.
    pub received_at: Option<Timestamp>,
    /// How often in a row its process died while it alone was in hand.
    pub deaths: u32,
}

/// Items of the folders whose names begin so that are due to be tried again or to be examined again and have not left them, the
/// one that was tried least first: for a provider that lists an item once. At most `most`.
pub async fn due_again(
    tenant: &Tenant,
    mailbox: MailboxId,
    within: &str,
    most: u32,
) -> Result<Vec<DueAgain>> {
    let rows = tenant
        .query(
            "select i.folder, i.item_id, i.size, i.received_at, i.deaths from mailbox_items i
             where i.mailbox_id = $1 and starts_with(i.folder, $2) and i.gone_at is null
               and ((i.decision = 'failed' and i.next_try_at <= now()) or i.examine_again_at is not null)
             order by i.attempts, i.seen_at limit $3",
            &[&mailbox.0, &within, &i64::from(most)],
        )
        .await?;
    let number = |row: &Row, column: &str| -> Result<u32> {
        Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0))
    };
    rows.iter()
        .map(|row| {
            Ok(DueAgain {
                folder: row.try_get("folder")?,
                item_id: row.try_get("item_id")?,
                size: u64::try_from(row.try_get::<_, i64>("size")?).unwrap_or(0),
                received_at: row.try_get("received_at")?,
                deaths: number(row, "deaths")?,
            })
        })
        .collect()
}

/// Writes decisions in one statement. A row that failed before or is to be examined again is decided anew; one that was
/// decided for good stays as it is, so that a batch handled twice leaves the same rows. Each failure doubles the time
/// until the next try, and a fifth is the last: `undeliverable`. What was given up and is examined again has five new
/// tries. Returns the decisions as they stand, in no order.
pub async fn decide(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    decisions: &[ItemDecision],
) -> Result<Vec<Item>> {
    let ids: Vec<_> = decisions.iter().map(|item| item.item_id.as_str()).collect();
    let names: Vec<_> = decisions.iter().map(|item| item.decision.as_str()).collect();
    let rules: Vec<_> = decisions.iter().map(|item| item.rule.as_str()).collect();
    let sizes: Vec<_> =
        decisions.iter().map(|item| wide(usize::try_from(item.size).unwrap_or(usize::MAX))).collect();
    let errors: Vec<_> = decisions.iter().map(|item| item.error.as_deref()).collect();
    let retries: Vec<_> = decisions.iter().map(|item| item.retry_after.as_secs_f64()).collect();
    let emails: Vec<_> = decisions.iter().map(|item| item.email.map(|id| id.0)).collect();
    let received: Vec<_> = decisions.iter().map(|item| item.received_at).collect();
    let message_ids: Vec<_> = decisions.iter().map(|item| item.message_id.as_deref()).collect();
    let search_keys: Vec<_> = decisions.iter().map(|item| item.search_key.as_deref()).collect();
    let rows = tenant
        .query(
            &format!("insert into mailbox_items as i (organization_id, mailbox_id, folder, item_id, decision, rule, size, attempts,
                                             next_try_at, last_error, email_id, received_at,
                                             message_id_hash, search_key)
             select distinct on (item) current_organization(), $1::uuid, $2::text, item, decision, rule, size,
                    case decision when 'failed' then 1 else 0 end,
                    case decision when 'failed' then now() + make_interval(secs => retry) end, error, email, received,
                    message_id_hash(message_id), search_key
             from unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::float8[], $9::uuid[],
                         $10::timestamptz[], $12::text[], $13::bytea[]) with ordinality
                  as u(item, decision, rule, size, error, retry, email, received, message_id, search_key, place)
             order by item, place
             on conflict (organization_id, mailbox_id, folder, item_id) do update set
                 attempts = case i.decision when 'failed' then i.attempts else 0 end + excluded.attempts, deaths = 0,
                 decision = case when excluded.decision = 'failed' and i.decision = 'failed' and i.attempts + 1 >= $11
                                 then 'undeliverable' else excluded.decision end,
                 next_try_at = case when i.decision <> 'failed' then excluded.next_try_at
                                    when i.attempts + 1 < $11
                                    then now() + (excluded.next_try_at - now()) * power(2, i.attempts) end,
                 rule = excluded.rule, last_error = coalesce(excluded.last_error, i.last_error),
                 email_id = excluded.email_id, received_at = coalesce(excluded.received_at, i.received_at),
                 message_id_hash = coalesce(excluded.message_id_hash, i.message_id_hash), examine_again_at = null,
                 search_key = coalesce(excluded.search_key, i.search_key), seen_at = now()
             where i.decision = 'failed' or i.examine_again_at is not null
             returning {COLUMNS}"),
            &[
                &mailbox.0,
                &folder,
                &ids,
                &names,
                &rules,
                &sizes,
                &errors,
                &retries,
                &emails,
                &received,
                &TRIES,
                &message_ids,
                &search_keys,
            ],
        )
        .await?;
    let mut items = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    if items.len() < ids.len() {
        let written: HashSet<&str> = items.iter().map(|item| item.item_id.as_str()).collect();
        let others: Vec<_> = ids.iter().copied().filter(|id| !written.contains(id)).collect();
        let others = of(tenant, mailbox, folder, &others).await?;
        items.extend(others);
    }
    Ok(items)
}

/// Notes, before an item is fetched alone, that it is in hand: if the process dies over it, its row says so. Whatever is
/// decided about it afterwards takes that back.
pub async fn take_in_hand(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    item_id: &str,
    size: u64,
) -> Result<()> {
    tenant
        .execute(
            "insert into mailbox_items as i (organization_id, mailbox_id, folder, item_id, decision, rule, size, deaths,
                                             next_try_at, last_error)
             values (current_organization(), $1, $2, $3, 'failed', 'in_hand', $4, 1, now(), $5)
             on conflict (organization_id, mailbox_id, folder, item_id) do update set
                 deaths = i.deaths + 1, next_try_at = now(), last_error = excluded.last_error, seen_at = now()
             where i.decision = 'failed'",
            &[
                &mailbox.0,
                &folder,
                &item_id,
                &wide(usize::try_from(size).unwrap_or(usize::MAX)),
                &"the process that read it ended over it",
            ],
        )
        .await?;
    Ok(())
}

/// The rows of these items, in no order; those without a row are left out.
pub async fn of(tenant: &Tenant, mailbox: MailboxId, folder: &str, ids: &[&str]) -> Result<Vec<Item>> {
    let rows = tenant
        .query(
            &format!("select {COLUMNS} from mailbox_items i where mailbox_id = $1 and folder = $2 and item_id = any($3)"),
            &[&mailbox.0, &folder, &ids],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// The items that an email was made from or joined by, over all mailboxes: why somebody has it or has it twice.
pub async fn of_email(tenant: &Tenant, email: EmailId) -> Result<Vec<Item>> {
    let rows = tenant
        .query(
            &format!("select {COLUMNS} from mailbox_items i where email_id = $1 order by seen_at, item_id"),
            &[&email.0],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// How many items of a mailbox were decided how.
pub async fn counts(tenant: &Tenant, mailbox: MailboxId) -> Result<Vec<(Decision, i64)>> {
    let rows = tenant
        .query(
            "select decision, count(*) as items from mailbox_items where mailbox_id = $1 group by decision order by 1",
            &[&mailbox.0],
        )
        .await?;
    rows.iter().map(|row| Ok((named(row, "decision")?, row.try_get("items")?))).collect()
}

const COLUMNS: &str =
    "i.mailbox_id, i.folder, i.item_id, i.decision, i.rule, i.attempts, i.next_try_at, i.last_error,
    i.email_id, i.received_at, i.gone_at, i.delete_asked_at, i.deleted_at, i.seen_at, i.examine_again_at";

fn read(row: &Row) -> Result<Item> {
    Ok(Item {
        mailbox: MailboxId(row.try_get("mailbox_id")?),
        folder: row.try_get("folder")?,
        item_id: row.try_get("item_id")?,
        decision: named(row, "decision")?,
        rule: row.try_get("rule")?,
        attempts: row.try_get("attempts")?,
        next_try_at: row.try_get("next_try_at")?,
        last_error: row.try_get("last_error")?,
        email: row.try_get::<_, Option<Uuid>>("email_id")?.map(EmailId),
        received_at: row.try_get("received_at")?,
        gone_at: row.try_get("gone_at")?,
        delete_asked_at: row.try_get("delete_asked_at")?,
        deleted_at: row.try_get("deleted_at")?,
        seen_at: row.try_get("seen_at")?,
        examine_again_at: row.try_get("examine_again_at")?,
    })
}

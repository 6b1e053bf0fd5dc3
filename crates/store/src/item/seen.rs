//! What became of the mail with a Message-ID, in every mailbox that the asker may see; and where was looked, so that an
//! answer about an id that nobody has seen is an answer too.

use jiff::Timestamp;
use model::explain::Circumstances;
use model::id::MailboxId;
use tokio_postgres::Row;

use super::again::limit;
use super::{COLUMNS, Item, read};
use crate::email::{Reader, own_mailbox};
use crate::{Result, Tenant};

/// Entries of a list at most.
const MOST: i64 = 100;

/// An item with the Message-ID that was asked for.
#[derive(Clone)]
pub struct Seen {
    /// The item.
    pub item: Item,
    /// The name of its mailbox.
    pub mailbox_name: String,
    /// The address of its mailbox.
    pub mailbox_address: String,
    /// What explains its decision.
    pub circumstances: Circumstances,
}

/// A mailbox that was looked into.
#[derive(Clone)]
pub struct Looked {
    /// Which.
    pub mailbox: MailboxId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether incoming mail is on.
    pub on: bool,
    /// When it was last read, whatever came of it.
    pub last_at: Option<Timestamp>,
    /// How that ended.
    pub last_outcome: Option<String>,
    /// When it is read next.
    pub due_at: Option<Timestamp>,
    /// How many of its messages have not been read so far, so that nobody knows their Message-IDs.
    pub unread: i64,
}

/// Where was looked.
#[derive(Clone)]
pub struct Search {
    /// In how many mailboxes.
    pub mailboxes: i64,
    /// A hundred of them at most, those first that were not looked into for longest.
    pub looked: Vec<Looked>,
}

/// The items with this Message-ID, in the mailboxes that the reader may see or in one of them, the first seen first; a
/// hundred at most. A person sees nothing from before the mailbox was the own or the queue's.
pub async fn by_message_id(
    tenant: &Tenant,
    message_id: &str,
    reader: Reader,
    mailbox: Option<MailboxId>,
) -> Result<Vec<Seen>> {
    let limit = u64::try_from(limit(tenant).await?).unwrap_or_default();
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS}, i.size, m.name as mailbox_name, m.address as mailbox_address,
                        greatest(p.process_email_received_after, m.process_email_received_after) as floor
                 from mailbox_items i
                 join mailboxes m on m.organization_id = i.organization_id and m.id = i.mailbox_id
                 join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
                 where i.organization_id = current_organization() and i.message_id_hash = message_id_hash($1)
                   and ($2::uuid is null or (i.first_seen_at >= m.mapped_at and {}))
                   and ($3::uuid is null or m.id = $3)
                 order by i.seen_at, i.mailbox_id, i.folder, i.item_id limit $4",
                own_mailbox("$2")
            ),
            &[&message_id, &reader.user(), &mailbox.map(|id| id.0), &MOST],
        )
        .await?;
    rows.iter().map(|row| seen(row, limit)).collect()
}

/// The mailboxes that the reader may see, with when each was last looked into.
pub async fn search(tenant: &Tenant, reader: Reader, mailbox: Option<MailboxId>) -> Result<Search> {
    let rows = tenant
        .query(
            &format!(
                "select m.id, m.name, m.address, w.enabled as on, s.last_finished_at, s.last_outcome, s.due_at,
                        count(*) over () as mailboxes,
                        (select count(*) from mailbox_items i
                         where i.organization_id = m.organization_id and i.mailbox_id = m.id
                           and i.message_id_hash is null
                           and i.decision in ('failed', 'undeliverable', 'too_large')) as unread
                 from mailboxes m
                 join mailbox_workloads w on w.organization_id = m.organization_id and w.mailbox_id = m.id
                                         and w.workload = 'incoming'
                 join schedules s on s.organization_id = m.organization_id and s.mailbox_id = m.id
                                 and s.workload = 'incoming'
                 where ($1::uuid is null or {}) and ($2::uuid is null or m.id = $2)
                 order by s.last_finished_at nulls first, m.id limit $3",
                own_mailbox("$1")
            ),
            &[&reader.user(), &mailbox.map(|id| id.0), &MOST],
        )
        .await?;
    let mailboxes = rows.first().map_or(Ok(0), |row| row.try_get("mailboxes"))?;
    Ok(Search { mailboxes, looked: rows.iter().map(looked).collect::<Result<_>>()? })
}

fn seen(row: &Row, limit: u64) -> Result<Seen> {
    let item = read(row)?;
    let circumstances = Circumstances {
        received: item.received_at,
        size: u64::try_from(row.try_get::<_, i64>("size")?).unwrap_or_default(),
        attempts: item.attempts,
        next_try: item.next_try_at,
        floor: row.try_get("floor")?,
        limit,
        gone: item.gone_at.is_some(),
        again: item.examine_again_at.is_some(),
    };
    Ok(Seen {
        item,
        mailbox_name: row.try_get("mailbox_name")?,
        mailbox_address: row.try_get("mailbox_address")?,
        circumstances,
    })
}

fn looked(row: &Row) -> Result<Looked> {
    Ok(Looked {
        mailbox: MailboxId(row.try_get("id")?),
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        on: row.try_get("on")?,
        last_at: row.try_get("last_finished_at")?,
        last_outcome: row.try_get("last_outcome")?,
        due_at: row.try_get("due_at")?,
        unread: row.try_get("unread")?,
    })
}

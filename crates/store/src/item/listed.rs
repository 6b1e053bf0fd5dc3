//! What a complete listing of a folder says about the items that were known: which are gone, and which are back.
//!
//! A server may give the name of an item that is gone to another one (RFC 1939 section 7 wants a unique id to last only
//! as long as its message): what comes back is not taken for what it was before somebody looked.

use std::time::Duration;

use jiff::Timestamp;
use model::email::Decision;
use model::id::MailboxId;

use crate::row::named;
use crate::{Result, Tenant};

/// What a complete listing says about the items that were known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// How many were there until now, without those that the server was asked to delete.
    pub known: u64,
    /// How many of them the listing lacks.
    pub gone: u64,
    /// How many of those that are gone were still to be read or recorded.
    pub unread: u64,
    /// Items that were gone and are listed again.
    pub back: u64,
}

/// An item of a listing that was known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its place in the listing.
    pub index: usize,
    /// What was decided about it.
    pub decision: Decision,
    /// When the server received it, as far as anyone could tell.
    pub received_at: Option<Timestamp>,
}

/// Marks what a complete listing lacks; the rows stay for the retention time. What is listed again stays marked until
/// [`came_back`] or [`set_aside`] says what it is.
///
/// A POP3 mailbox has one folder, named by server and login: what was seen in another one, before the mailbox was moved, is
/// listed no longer either. Should the mailbox move back, it is recognized as what comes back.
pub async fn mark_gone(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    listing: &[String],
) -> Result<Compared> {
    let row = tenant
        .query_one(
            // The listing is looked up by hash, row by row, and never joined: right after a first synchronization
            // the planner takes a table of ten thousand rows for empty.
            "with known as (select i.gone_at, i.delete_asked_at, i.decision,
                                   i.item_id in (select unnest($3::text[])) as there
                            from mailbox_items i where i.mailbox_id = $1 and i.folder = $2),
                  changed as (update mailbox_items i set gone_at = now(),
                                  deleted_at = case when i.delete_asked_at is not null then now() end
                              where i.mailbox_id = $1 and i.folder = $2 and i.gone_at is null
                                and not (i.item_id in (select unnest($3::text[])))),
                  left_behind as (update mailbox_items i set gone_at = now()
                                  where i.mailbox_id = $1 and (i.folder < $2 or i.folder > $2) and i.gone_at is null)
             select count(*) filter (where gone_at is null and delete_asked_at is null) as known,
                    count(*) filter (where gone_at is null and delete_asked_at is null and not there) as gone,
                    count(*) filter (where gone_at is null and not there and decision = 'failed') as unread,
                    count(*) filter (where gone_at is not null and there) as back
             from known",
            &[&mailbox.0, &folder, &listing],
        )
        .await?;
    let count =
        |column: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0)) };
    Ok(Compared {
        known: count("known")?,
        gone: count("gone")?,
        unread: count("unread")?,
        back: count("back")?,
    })
}

/// Items that were gone and are listed again, in the order of the listing, at most `limit`.
pub async fn back(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    listing: &[String],
    limit: u32,
) -> Result<Vec<Known>> {
    known_where(tenant, mailbox, folder, listing, "i.gone_at is not null", limit).await
}

/// Items of a listing that are recorded here for good and still lie on the server: recorded or duplicate, with a record
/// that is still there. In the order of the listing, at most `limit`.
pub async fn kept(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    listing: &[String],
    limit: u32,
) -> Result<Vec<Known>> {
    let kept = "i.decision in ('recorded', 'duplicate') and i.email_id is not null and i.gone_at is null";
    known_where(tenant, mailbox, folder, listing, kept, limit).await
}

async fn known_where(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    listing: &[String],
    which: &str,
    limit: u32,
) -> Result<Vec<Known>> {
    let rows = tenant
        .query(
            &format!(
                "select u.place - 1 as place, i.decision, i.received_at
                 from unnest($3::text[]) with ordinality as u(item_id, place)
                 cross join lateral (
                     select i.decision, i.received_at, i.email_id, i.gone_at from mailbox_items i
                     where i.organization_id = current_organization() and i.mailbox_id = $1 and i.folder = $2
                       and i.item_id = u.item_id offset 0) as i
                 where {which} order by u.place limit $4"
            ),
            &[&mailbox.0, &folder, &listing, &i64::from(limit)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Known {
                index: usize::try_from(row.try_get::<_, i64>("place")?).unwrap_or(usize::MAX),
                decision: named(row, "decision")?,
                received_at: row.try_get("received_at")?,
            })
        })
        .collect()
}

/// These items left the folder by the server's word: deleted there, or moved. What was recorded of them stays.
pub async fn left(tenant: &Tenant, mailbox: MailboxId, folder: &str, items: &[String]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    tenant
        .execute(
            "update mailbox_items set gone_at = now(),
                 deleted_at = case when delete_asked_at is not null then now() else deleted_at end
             where mailbox_id = $1 and folder = $2 and item_id = any($3) and gone_at is null",
            &[&mailbox.0, &folder, &items],
        )
        .await?;
    Ok(())
}

/// These items are what they were before they were gone.
pub async fn came_back(tenant: &Tenant, mailbox: MailboxId, folder: &str, items: &[&str]) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items set gone_at = null, deleted_at = null
             where mailbox_id = $1 and folder = $2 and item_id = any($3) and gone_at is not null",
            &[&mailbox.0, &folder, &items],
        )
        .await?;
    Ok(())
}

/// The server uses these names for other messages now, or nobody can tell: the rows are put aside under a name that no
/// server gives, as gone, and the messages are new.
pub async fn set_aside(tenant: &Tenant, mailbox: MailboxId, folder: &str, items: &[&str]) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items set gone_at = coalesce(gone_at, now()),
                 item_id = item_id || '~' || extract(epoch from clock_timestamp())
             where mailbox_id = $1 and folder = $2 and item_id = any($3)",
            &[&mailbox.0, &folder, &items],
        )
        .await?;
    Ok(())
}

/// Forgets what has been gone for longer than `age`, of the transaction's organization, `limit` rows at most. Gives how
/// many.
pub async fn forget(tenant: &Tenant, age: Duration, limit: u32) -> Result<u64> {
    tenant
        .execute(
            // Materialized, or a nested loop would draw its limit anew for each row.
            "with old as materialized (
                 select mailbox_id, folder, item_id from mailbox_items
                 where organization_id = current_organization() and gone_at < now() - make_interval(secs => $1)
                 limit $2 for update skip locked)
             delete from mailbox_items i using old
             where i.organization_id = current_organization() and i.mailbox_id = old.mailbox_id
               and i.folder = old.folder and i.item_id = old.item_id",
            &[&age.as_secs_f64(), &i64::from(limit)],
        )
        .await
}

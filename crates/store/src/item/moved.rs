//! Items that appear under a new name and are known: moved between the folders of one mailbox. What is taken for moved is not
//! fetched again, so only what agrees in everything that is known of both is; a copy that stands beside its original is not.

use jiff::Timestamp;
use model::id::MailboxId;

use crate::row::wide;
use crate::{Result, Tenant};

/// Bytes of a search key at most; Exchange's have 16. A longer one is as none.
pub const SEARCH_KEY: usize = 64;

/// An item of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// The provider's name of it.
    pub item_id: &'a str,
    /// What stays the same when it moves, and in its copies.
    pub search_key: Option<&'a [u8]>,
    /// Its Message-ID without angle brackets.
    pub message_id: Option<&'a str>,
    /// Its size in bytes, as it is listed.
    pub size: u64,
    /// When the server received it.
    pub received_at: Option<Timestamp>,
}

/// Where items are looked for that moved.
#[derive(Clone, Copy, Debug)]
pub struct KnownFolders<'a> {
    /// What the names of all folders of this mailbox on the server begin with.
    pub within: &'a str,
    /// The folders whose listings say what leaves them. Of another folder nobody hears that something left it.
    pub listed: &'a [String],
}

/// What moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many items.
    pub all: usize,
    /// Those about which people were told: the old name and the new one.
    pub told: Vec<(String, String)>,
}

/// Gives the rows of items that moved here their new names, with all that was decided about them; gives the old
/// names of those about which people were told, with the new ones, and how many there were in all. An item moved
/// when it has no row here, and one that left its folder, or is in a folder that is not listed, has the same search key, and
/// nothing else that is known of both differs; or, where one of the two has no search key, when Message-ID, size and time of
/// receipt are all known and the same. A row is one item's.
///
/// What was given up and is moved by somebody is examined again.
pub async fn moved_here(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    arrived: &[Arrived<'_>],
    known: KnownFolders<'_>,
) -> Result<Moved> {
    if arrived.is_empty() {
        return Ok(Moved::default());
    }
    let ids: Vec<_> = arrived.iter().map(|item| item.item_id).collect();
    let keys: Vec<_> = arrived.iter().map(|item| item.search_key).collect();
    let message_ids: Vec<_> = arrived.iter().map(|item| item.message_id).collect();
    let sizes: Vec<_> =
        arrived.iter().map(|item| wide(usize::try_from(item.size).unwrap_or(usize::MAX))).collect();
    let received: Vec<_> = arrived.iter().map(|item| item.received_at).collect();
    let rows = tenant
        .query(
            // Each look-up is one by an index, whatever the planner believes about the table: see `item::unknown`.
            "with arrived as materialized (
                 select u.item_id, u.search_key, message_id_hash(u.message_id) as message_id_hash, u.size,
                        date_trunc('second', u.received_at) as received_at, u.place
                 from unnest($3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::timestamptz[]) with ordinality
                      as u(item_id, search_key, message_id, size, received_at, place)
                 where (u.search_key is not null or u.message_id is not null) and not exists (
                     select from mailbox_items k
                     where k.organization_id = current_organization() and k.mailbox_id = $1 and k.folder = $2
                       and k.item_id = u.item_id)),
             same as (
                 select distinct on (i.folder, i.item_id) i.folder, i.item_id, a.item_id as new_id, a.search_key
                 from arrived a cross join lateral (
                     (select i.folder, i.item_id from mailbox_items i
                      where i.organization_id = current_organization() and i.mailbox_id = $1
                        and i.search_key = a.search_key
                        and coalesce(i.message_id_hash = a.message_id_hash, true)
                        and coalesce(date_trunc('second', i.received_at) = a.received_at, true)
                        and starts_with(i.folder, $8) and (i.gone_at is not null or i.folder <> all($9))
                      order by i.gone_at desc nulls last offset 0 limit 1)
                     union all
                     (select i.folder, i.item_id from mailbox_items i
                      where i.organization_id = current_organization() and i.message_id_hash = a.message_id_hash
                        and i.mailbox_id = $1 and (i.search_key is null or a.search_key is null)
                        and i.size = a.size and date_trunc('second', i.received_at) = a.received_at
                        and starts_with(i.folder, $8) and (i.gone_at is not null or i.folder <> all($9))
                      order by i.gone_at desc nulls last offset 0 limit 1)
                     limit 1) as i
                 order by i.folder, i.item_id, a.place)
             update mailbox_items i set folder = $2, item_id = s.new_id, gone_at = null, deleted_at = null,
                 search_key = coalesce(s.search_key, i.search_key),
                 examine_again_at = case when i.decision = 'undeliverable' then now() else i.examine_again_at end,
                 moved_at = null, move_attempts = 0
             from same s
             where i.organization_id = current_organization() and i.mailbox_id = $1 and i.folder = s.folder
               and i.item_id = s.item_id
             returning s.item_id, i.item_id as new_id, i.decision in ('undeliverable', 'too_large') as told",
            &[
                &mailbox.0,
                &folder,
                &ids,
                &keys,
                &message_ids,
                &sizes,
                &received,
                &known.within,
                &known.listed,
            ],
        )
        .await?;
    let mut moved = Moved { all: rows.len(), told: Vec::new() };
    for row in &rows {
        if row.try_get("told")? {
            moved.told.push((row.try_get("item_id")?, row.try_get("new_id")?));
        }
    }
    Ok(moved)
}

//! The items of a mailbox for people who ask what became of them, a page at a time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use model::email::Decision;
use model::id::MailboxId;

use super::{COLUMNS, Item, read};
use crate::refusal::check_time;
use crate::{Result, Tenant};

/// Where a page of items ended; its text is for cursors and means nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPlace {
    seen_at: Timestamp,
    folder: String,
    item_id: String,
}

impl ItemPlace {
    /// The place of an item.
    pub fn of(item: &Item) -> Self {
        Self { seen_at: item.seen_at, folder: item.folder.clone(), item_id: item.item_id.clone() }
    }
}

impl fmt::Display for ItemPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::json!([self.seen_at, self.folder, self.item_id]).fmt(f)
    }
}

impl FromStr for ItemPlace {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seen_at, folder, item_id): (Timestamp, String, String) = serde_json::from_str(text)?;
        if folder.contains('\0') || item_id.contains('\0') || check_time("cursor", Some(seen_at)).is_err() {
            return Err(serde::de::Error::custom("nothing that Postgres stores"));
        }
        Ok(Self { seen_at, folder, item_id })
    }
}

/// Items of a mailbox, the one decided about last first, after the last of the page before. `owners_own` leaves out what
/// was seen before the mailbox was mapped to its present owner: that is not theirs to know of.
pub async fn list(
    tenant: &Tenant,
    mailbox: MailboxId,
    owners_own: bool,
    decision: Option<Decision>,
    after: Option<&ItemPlace>,
    limit: i64,
) -> Result<Vec<Item>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from mailbox_items i
                 where i.mailbox_id = $1 and ($2::text is null or i.decision = $2)
                   and ($3::timestamptz is null or (i.seen_at, i.folder, i.item_id) < ($3, $4::text, $5::text))
                   and (not $7 or i.first_seen_at >= (
                        select m.mapped_at from mailboxes m
                        where m.organization_id = i.organization_id and m.id = i.mailbox_id))
                 order by i.seen_at desc, i.folder desc, i.item_id desc limit $6"
            ),
            &[
                &mailbox.0,
                &decision.map(Decision::as_str),
                &after.map(|place| place.seen_at),
                &after.map(|place| &place.folder),
                &after.map(|place| &place.item_id),
                &limit,
                &owners_own,
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

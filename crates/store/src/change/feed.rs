//! The change feed: everything that changes in an organization, in an order that a follower can resume from.
//!
//! A row takes its sequence when it is written and is seen when its transaction commits, so whoever reads by sequence
//! skips what took its number first and commits last. The feed reads in the order of transactions instead, and offers a
//! row only once every transaction with a lower id has ended. A transaction that stays open delays the feed behind it, and
//! loses nothing; how much is held back is said. One that only reads, such as a dump, delays nothing.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use model::id::OrganizationId;
use model::setting;
use tokio::sync::mpsc;

use super::entry::{ChangeReader, Entry, columns, read, visible};
use crate::connection::hear;
use crate::refusal::Refusal;
use crate::{Result, Store, Tenant, setting as settings};

/// The channel on which an organization's id is said when it has a change that somebody waits for.
pub(super) const CHANNEL: &str = "lockstep_changes";

/// A place in the feed. It means something in this feed of this database alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    feed: i32,
    transaction: u64,
    sequence: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.feed, self.transaction, self.sequence)
    }
}

/// What is no place in a feed.
#[derive(Debug, thiserror::Error)]
#[error("not a place in a feed")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> std::result::Result<Self, NoCursor> {
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoCursor);
        Ok(Self {
            feed: part()?.parse().map_err(|_| NoCursor)?,
            transaction: part()?.parse().map_err(|_| NoCursor)?,
            sequence: part()?.parse().map_err(|_| NoCursor)?,
        })
    }
}

/// Which changes a follower wants.
#[derive(Clone, Copy, Debug)]
pub struct FeedFilter<'a> {
    /// Who follows.
    pub reader: ChangeReader,
    /// Of this noun only.
    pub record_type: Option<&'a str>,
}

/// A part of the feed.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The changes, each with its place.
    pub entries: Vec<(Cursor, Entry)>,
    /// Where to go on; the same place when nothing more is there yet.
    pub next: Cursor,
    /// Whether there is more to read at once.
    pub more: bool,
    /// What is committed and not offered yet.
    pub held_back: Option<HeldBack>,
}

/// What waits in the feed for an older transaction to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// How many changes, counted up to a thousand.
    pub changes: i64,
    /// When the oldest of them was made: how late the feed is.
    pub since: Timestamp,
}

/// How many rows are looked at for a follower who may see few of them.
const SPAN: i64 = 2000;

/// The changes after a place, or from the oldest that is kept. Fails with a refusal when the place is before what is kept,
/// or of another feed.
pub async fn after(
    tenant: &Tenant,
    filter: FeedFilter<'_>,
    place: Option<Cursor>,
    limit: i64,
) -> Result<Feed> {
    let (start, open) = checked(tenant, place).await?;
    let open = open.to_string();
    let everything = filter.reader == ChangeReader::Everything && filter.record_type.is_none();
    let span = if everything { limit } else { SPAN };
    let rows = tenant
        .query(
            &format!(
                "select {}, ($5::text is null or c.record_type = $5) and {} as seen
                 from (select f.* from changes f
                       where (f.transaction_id, f.sequence) > ($1::text::xid8, $2::bigint)
                         and f.transaction_id < $6::text::xid8
                       order by f.transaction_id, f.sequence limit $3) as c
                 order by c.transaction_id, c.sequence",
                columns("$4"),
                visible("$4")
            ),
            &[
                &start.transaction.to_string(),
                &start.sequence,
                &span,
                &filter.reader.user(),
                &filter.record_type,
                &open,
            ],
        )
        .await?;
    let mut feed = Feed { entries: Vec::new(), next: start, more: false, held_back: None };
    for row in &rows {
        if row.try_get::<_, Option<bool>>("seen")? == Some(true) {
            if crate::row::wide(feed.entries.len()) == limit {
                feed.more = true;
                return Ok(feed);
            }
            let entry = read(row)?;
            let place = Cursor { feed: start.feed, transaction: entry.transaction, sequence: entry.sequence };
            feed.entries.push((place, entry));
            feed.next = place;
        } else {
            let transaction: &str = row.try_get("transaction_id")?;
            let transaction = transaction.parse().unwrap_or_default();
            feed.next = Cursor { feed: start.feed, transaction, sequence: row.try_get("sequence")? };
        }
    }
    feed.more = crate::row::wide(rows.len()) == span;
    feed.held_back = held_back(tenant, feed.next, &open).await?;
    Ok(feed)
}

/// The end of the feed: only what is committed from now on comes after it.
pub async fn head(tenant: &Tenant) -> Result<Cursor> {
    let (start, open) = checked(tenant, None).await?;
    Ok(Cursor { feed: start.feed, transaction: open.saturating_sub(1), sequence: i64::MAX })
}

/// The place to read after, when it still means something, and the oldest transaction that may still be open: what is older
/// has ended, for every statement that follows.
async fn checked(tenant: &Tenant, place: Option<Cursor>) -> Result<(Cursor, u64)> {
    let row = tenant
        .query_one(
            "select i.feed, pg_snapshot_xmin(pg_current_snapshot())::text as open, h.transaction_id::text as horizon, h.sequence,
                    coalesce((select c.transaction_id from changes c order by c.transaction_id desc limit 1)
                             >= pg_snapshot_xmax(pg_current_snapshot()), false) as restored
             from installation i left join change_horizons h on true",
            &[],
        )
        .await?;
    if row.try_get("restored")? {
        return Err(Refusal::FeedNotMended.into());
    }
    let feed = row.try_get("feed")?;
    let open = row.try_get::<_, &str>("open")?.parse().unwrap_or_default();
    let horizon: Option<&str> = row.try_get("horizon")?;
    let horizon = match horizon {
        Some(transaction) => Cursor {
            feed,
            transaction: transaction.parse().unwrap_or_default(),
            sequence: row.try_get("sequence")?,
        },
        None => Cursor { feed, transaction: 0, sequence: 0 },
    };
    match place {
        None => Ok((horizon, open)),
        Some(place) if place.feed != feed => Err(Refusal::FeedRestarted.into()),
        Some(place) if place < horizon => {
            let kept = settings::get(tenant, setting::CHANGES_KEPT_DAYS).await?.value;
            Err(Refusal::ChangesForgotten { days: kept.as_i64().unwrap_or_default() }.into())
        }
        Some(place) => Ok((place, open)),
    }
}

async fn held_back(tenant: &Tenant, place: Cursor, open: &str) -> Result<Option<HeldBack>> {
    let row = tenant
        .query_one(
            "select count(*), min(at) from (
                select c.at from changes c
                where (c.transaction_id, c.sequence) > ($1::text::xid8, $2::bigint)
                  and c.transaction_id >= $3::text::xid8
                limit 1000) as waiting",
            &[&place.transaction.to_string(), &place.sequence, &open],
        )
        .await?;
    let since: Option<Timestamp> = row.try_get(1)?;
    let changes = row.try_get(0)?;
    Ok(since.map(|since| HeldBack { changes, since }))
}

/// Says that somebody waits for the organization's next change, for as long: whoever writes one then tells.
pub async fn will_wait(tenant: &Tenant, seconds: u64) -> Result<()> {
    tenant
        .execute(
            "insert into change_waiters as w (organization_id, until)
             values (current_organization(), now() + make_interval(secs => $1))
             on conflict (organization_id) do update set until = excluded.until
             where w.until < excluded.until - interval '5 seconds'",
            &[&crate::schedule::as_seconds(seconds)],
        )
        .await?;
    Ok(())
}

/// Organizations that have a change somebody waits for, as they are heard.
#[derive(Debug)]
pub struct Wakes {
    heard: mpsc::UnboundedReceiver<Option<OrganizationId>>,
}

impl Wakes {
    /// The next one; `None` means any: the connection was lost or is there again. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<OrganizationId> {
        match self.heard.recv().await {
            Some(heard) => heard,
            // The sender lives as long as this receiver does, unless the runtime ends.
            None => std::future::pending().await,
        }
    }
}

/// Listens on a connection of its own until the value is dropped.
pub fn listen(store: &Store) -> Wakes {
    let (wake, heard) = mpsc::unbounded_channel();
    hear(store.config(), CHANNEL, move |said| {
        let organization = said.and_then(|said| said.parse().ok()).map(OrganizationId);
        wake.send(organization).is_ok()
    });
    Wakes { heard }
}

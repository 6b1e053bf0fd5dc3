//! What a cycle took in of one folder, and how it is written: records, item decisions, the cursor and alerts in one
//! transaction, fenced by the claim.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use mail::mime;
use model::accept::Rule;
use model::alert::AlertKind;
use model::budget::{Caps, Used};
use model::crash::{self, Point};
use model::email::Decision;
use model::identity::identity;
use model::message::{ParseWarning, ParsedMessage};
use model::profile::ProfileKind;
use model::rate::RateUnit;
use model::report::{Report, report};
use model::workload::Workload;
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::incoming::{
    self, IncomingBatch, IncomingItem, IncomingMessage, Raw, Recorded, SearchKeys, Verdict,
};
use store::{Tenant, alert, item, schedule};
use tokio::time::Instant;

use super::spool::TAKES;
use crate::ending::Interrupted;
use crate::memory::Held;
use crate::pace::STEP;
use crate::servers::MEGABYTE;
use crate::start::Cycle;

/// Messages whose sizes tell what a batch may take.
const FORESEEN: usize = 250;
/// How long after its first failure an item is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(300);
/// Claims that died in a row, after which a cycle takes one item at a time (design section 5).
const CAREFUL_AFTER: u32 = 2;
/// Deaths over one item, after which nobody looks into it any more.
pub(super) const DEADLY: u32 = 3;

/// What people are told of an item, by its name.
pub(super) const OF_AN_ITEM: [AlertKind; 2] = [AlertKind::MessageTooLarge, AlertKind::MessageUndeliverable];

/// A message that waits to be read.
pub(super) trait Waiting {
    /// As the server says.
    fn size(&self) -> u64;
    /// How often in a row its process died while it alone was in hand.
    fn deaths(&self) -> u32;
}

/// One cycle's taking in of a folder.
pub(super) struct Intake<'a> {
    pub(super) cycle: &'a Cycle,
    pub(super) folder: String,
    /// What stays the same of the items that are in hand when they move.
    pub(super) search_keys: SearchKeys,
    pub(super) used: Used,
    pub(super) decided: u32,
    pub(super) started: Instant,
    /// What may be used before the present folder has to make room for others.
    pub(super) caps: Caps,
    /// When the time for the present folder is over: what is on its way then is left to another time.
    pub(super) until: Instant,
}

/// What became of the session with a batch, or with a page of what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next may go over it.
    GoOn,
    /// The cycle's time, or the memory for messages, is used up: the rest is for another cycle.
    Full,
    /// It cannot be used any more, and what it gave is committed: the rest is for another cycle.
    Stop,
}

/// A message that came as a whole.
pub(super) struct Whole {
    /// The provider's name of it.
    pub(super) item_id: String,
    /// Its size on the server.
    pub(super) size: u64,
    /// When the server received it, where it says so beside the message.
    pub(super) received_at: Option<Timestamp>,
    pub(super) raw: Bytes,
}

/// A message that was read, before anybody judged it.
pub(super) struct Read {
    /// The provider's name of it.
    pub(super) item_id: String,
    /// Its size on the server.
    pub(super) size: u64,
    /// When the server received it, where it says so beside the message.
    pub(super) received_at: Option<Timestamp>,
    pub(super) message: ParsedMessage,
    pub(super) raw: Raw,
    pub(super) identity: model::identity::Identity,
    /// What it reports about an email, should it be a report.
    pub(super) report: Option<Report>,
}

impl<'a> Intake<'a> {
    pub(super) fn of(cycle: &'a Cycle) -> Self {
        let (started, caps) = (Instant::now(), cycle.parts.mail.config().caps());
        Self {
            cycle,
            folder: cycle.mailbox.incoming_folder(),
            search_keys: SearchKeys::new(),
            used: Used::default(),
            decided: 0,
            started,
            caps,
            until: started + caps.time,
        }
    }
}

impl Intake<'_> {
    /// Turns to a folder, which may have its share of what the cycle has left: it is one of so many that are still to come.
    pub(super) fn turn_to(&mut self, folder: String, parts: usize) {
        let parts = u32::try_from(parts).unwrap_or(u32::MAX);
        self.caps = self.cycle.parts.mail.config().caps().share(self.used, self.started.elapsed(), parts);
        self.until = self.started + self.caps.time;
        self.folder = folder;
    }

    /// Whether the present folder's share is used up.
    pub(super) fn is_full(&self) -> bool {
        self.caps.reached(self.used, self.started.elapsed()) || self.cycle.parts.drain.is_cancelled()
    }

    /// Whether the cycle has used what it may.
    pub(super) fn is_over(&self) -> bool {
        let caps = self.cycle.parts.mail.config().caps();
        caps.reached(self.used, self.started.elapsed())
            || self.cycle.parts.drain.is_cancelled()
            || self.cycle.pace.stopped().is_some()
    }

    /// A transaction that may write only while the claim is ours.
    pub(super) async fn fenced(&self) -> store::Result<Tenant> {
        self.fence(self.cycle.parts.store.tenant(self.cycle.organization).await?).await
    }

    /// As [`Self::fenced`], to write a batch.
    pub(super) async fn fenced_for_batch(&self) -> store::Result<Tenant> {
        self.fence(self.cycle.parts.store.batch(self.cycle.organization).await?).await
    }

    async fn fence(&self, tenant: Tenant) -> store::Result<Tenant> {
        schedule::fence(&tenant, self.cycle.claimed.claim).await?;
        Ok(tenant)
    }

    pub(super) async fn warn(
        &self,
        tenant: &Tenant,
        kind: AlertKind,
        parameters: Value,
    ) -> Result<(), Interrupted> {
        self.warn_of(tenant, kind, "", parameters).await
    }

    /// The same of one of several things of the mailbox.
    pub(super) async fn warn_of(
        &self,
        tenant: &Tenant,
        kind: AlertKind,
        detail: &str,
        parameters: Value,
    ) -> Result<(), Interrupted> {
        let subject = Subject::Mailbox(self.cycle.mailbox.id);
        let alert = NewAlert { kind, subject, detail: detail.to_owned(), parameters, server_said: None };
        alert::raise(tenant, &alert).await?;
        Ok(())
    }

    /// What the cycle before left about the folder.
    pub(super) async fn cursor(&self, tenant: &Tenant) -> store::Result<Option<Value>> {
        store::cursor::get(tenant, self.cycle.mailbox.id, Workload::Incoming, &self.folder).await
    }

    pub(super) async fn put_cursor(&self, tenant: &Tenant, value: &Value) -> store::Result<()> {
        store::cursor::put(tenant, self.cycle.mailbox.id, Workload::Incoming, &self.folder, value).await
    }

    /// Takes the next batch off what waits, with the memory that it may hold: what fits into the cycle's caps and a batch's
    /// bytes, and alone what is large or dangerous. `None` when there was no memory until the cycle's
    /// time was over, or the server is to be asked for nothing more now.
    pub(super) async fn next_batch<T: Waiting>(
        &mut self,
        waiting: &mut VecDeque<T>,
    ) -> Option<(Vec<T>, Held)> {
        // As much as the batch may be, before any of it is taken.
        let bytes = sum(waiting.iter().take(FORESEEN).map(Waiting::size)).min(self.room());
        let first = waiting.front().map_or(0, Waiting::size);
        let wants = [(RateUnit::Requests, STEP, STEP), (RateUnit::BytesDown, first, bytes.max(first))];
        if !self.cycle.pace.allows_up_to(&wants).await {
            return None;
        }
        let allowed = self.cycle.pace.left(RateUnit::BytesDown).unwrap_or(u64::MAX);
        let config = self.cycle.parts.mail.config();
        let most = usize::try_from(config.batch_items).unwrap_or(usize::MAX);
        let fitting = self.caps.fitting(self.used, most, waiting.iter().map(Waiting::size));
        let mut batch: Vec<T> = Vec::with_capacity(fitting);
        let (mut bytes, room) = (0, self.room().min(allowed));
        while batch.len() < fitting.max(1)
            && let Some(new) = waiting.pop_front()
        {
            bytes = sum([bytes, new.size()]);
            let first = batch.is_empty();
            let alone = new.size() > config.whole_bytes() || self.is_dangerous(new.deaths());
            if !first && (bytes > room || alone) {
                waiting.push_front(new);
                break;
            }
            batch.push(new);
            if alone {
                break;
            }
        }
        let limit = self.cycle.mailbox.max_message_bytes;
        let sizes = batch.iter().map(|new| match new.size() {
            size if size > limit => 0,
            size if size > config.whole_bytes() => TAKES,
            size => size,
        });
        let memory = self.cycle.parts.mail.fetched();
        let Some(held) = memory.reserve(self.cycle.mailbox.profile, sizes.collect(), self.until).await else {
            tracing::info!("no memory for the next message until the time was over: the rest waits");
            return None;
        };
        for new in batch.drain(held.count..).rev() {
            waiting.push_front(new);
        }
        self.used.items = self.used.items.saturating_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        let bytes = sum(batch.iter().map(Waiting::size));
        self.used.bytes = sum([bytes, self.used.bytes]);
        // An Exchange server's answers are counted as they come.
        if self.cycle.mailbox.server.kind == ProfileKind::Pop3Smtp {
            self.cycle.pace.spend(RateUnit::BytesDown, bytes);
        }
        Some((batch, held))
    }

    /// Bytes that a batch should have of memory.
    pub(super) fn room(&self) -> u64 {
        u64::from(self.cycle.parts.mail.config().batch_mb) * 1_000_000
    }

    /// Whether a process may die over an item that so many died over: one did, or the claims before this one died over what
    /// nobody knows.
    pub(super) fn is_dangerous(&self, deaths: u32) -> bool {
        deaths > 0 || self.cycle.claimed.deaths >= CAREFUL_AFTER
    }

    /// Commits that this item alone is in hand, so that it shows over which one a process died.
    pub(super) async fn take_in_hand(&self, item_id: &str, size: u64) -> Result<(), Interrupted> {
        let tenant = self.fenced().await?;
        item::take_in_hand(&tenant, self.cycle.mailbox.id, &self.folder, item_id, size).await?;
        Ok(tenant.commit().await?)
    }

    /// Records, item decisions, the cursor and alerts in one transaction. Nothing is written once the connection was given
    /// up: what ended then ended because of us, and no message is to blame. Gives the items that are kept for good.
    #[tracing::instrument(name = "store.record", skip_all, fields(items = items.len()))]
    pub(super) async fn commit(
        &mut self,
        tenant: Tenant,
        items: Vec<IncomingItem>,
        cursor: Option<Value>,
    ) -> Result<Vec<String>, Interrupted> {
        if self.cycle.ends().is_silent() {
            return Err(Interrupted::LeaseLost);
        }
        let by = self.cycle.author();
        let batch = IncomingBatch {
            mailbox: self.cycle.mailbox.id,
            folder: &self.folder,
            items,
            search_keys: &self.search_keys,
            cursor,
            retry_after: RETRY_AFTER,
            by: &by,
        };
        let recorded = incoming::record(&tenant, &batch).await?;
        for (item, outcome) in batch.items.iter().zip(&recorded) {
            self.tell(&tenant, item, outcome).await?;
        }
        crash::point(Point::CommitBefore);
        tenant.commit().await?;
        crash::point(Point::CommitAfter);
        self.decided = self.decided.saturating_add(u32::try_from(recorded.len()).unwrap_or(u32::MAX));
        let kept = recorded.into_iter().filter(|item| {
            matches!(item.decision, Decision::Recorded | Decision::Duplicate) && item.email.is_some()
        });
        Ok(kept.map(|item| item.item_id).collect())
    }

    /// Raises what people must know about an item, and takes back what was said of one that came in after all.
    async fn tell(&self, tenant: &Tenant, item: &IncomingItem, outcome: &Recorded) -> store::Result<()> {
        let mailbox = Subject::Mailbox(self.cycle.mailbox.id);
        if outcome.was_decided && matches!(outcome.decision, Decision::Recorded | Decision::Duplicate) {
            alert::resolve(tenant, &OF_AN_ITEM, mailbox, Some(&item.item_id)).await?;
        }
        let unparsable =
            |message: &IncomingMessage| message.message.warnings.contains(&ParseWarning::Unparsable);
        let (kind, subject, parameters) = match (&item.verdict, outcome.decision, outcome.email) {
            (_, Decision::TooLarge, _) => {
                let (size, limit) =
                    (item.size.div_ceil(MEGABYTE), self.cycle.mailbox.max_message_bytes / MEGABYTE);
                (AlertKind::MessageTooLarge, mailbox, json!({"size_mb": size, "limit_mb": limit}))
            }
            (_, Decision::Undeliverable, _) => {
                (AlertKind::MessageUndeliverable, mailbox, json!({"reason": outcome.error}))
            }
            (Verdict::Record(message), Decision::Recorded, Some(email)) if unparsable(message) => {
                (AlertKind::MessageUnparsable, Subject::Email(email), json!({}))
            }
            _ => return Ok(()),
        };
        let detail = if subject == mailbox { item.item_id.clone() } else { String::new() };
        alert::raise(tenant, &NewAlert { kind, subject, detail, parameters, server_said: None }).await?;
        Ok(())
    }
}

/// An item that is decided about without having been read.
pub(super) fn unread(item_id: &str, size: u64, rule: Rule, verdict: Verdict) -> IncomingItem {
    IncomingItem {
        item_id: item_id.to_owned(),
        size,
        received_at: None,
        message_id: None,
        rule: rule.to_string(),
        verdict,
    }
}

/// It could not be fetched this time.
pub(super) fn failed(item_id: &str, size: u64, why: String) -> IncomingItem {
    unread(item_id, size, Rule::Fetch, Verdict::Fail(why))
}

/// It is larger than the limit, whatever the listing said.
pub(super) fn too_large(item_id: &str, size: u64) -> IncomingItem {
    unread(item_id, size, Rule::Size, Verdict::Skip(Decision::TooLarge))
}

/// Parses whole messages, off the threads that talk to servers.
pub(super) async fn read_all(whole: Vec<Whole>) -> store::Result<Vec<Read>> {
    let limits = mime::Limits::default();
    tokio::task::spawn_blocking(move || {
        whole.into_iter().map(|whole| read(whole, &limits)).collect::<Vec<_>>()
    })
    .await
    .map_err(|_| store::Error::Broken("parsing a message ended its thread".to_owned()))
}

fn read(whole: Whole, limits: &mime::Limits) -> Read {
    let Whole { item_id, size, received_at, raw } = whole;
    let message = mime::parse(&raw, limits);
    let identity = identity(&message, &raw);
    let report = report(&message);
    Read { item_id, size, received_at, message, raw: Raw::Bytes(raw), identity, report }
}

/// Of sizes that a server says: it may say anything.
pub(super) fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

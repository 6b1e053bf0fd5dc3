//! One batch: what is too large or too old is decided from its header, the rest is fetched pipelined, and everything is
//! committed together.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mail::error::{Kind, Phase};
use mail::mime;
use mail::pop3::{Fetched, Listed, Session};
use model::accept::{Rule, before_the_floor};
use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::Decision;
use model::identity::identity;
use model::message::{ParseWarning, ParsedMessage};
use model::report::{Report, report};
use serde_json::json;
use store::alert::{NewAlert, Subject};
use store::incoming::{self, IncomingBatch, IncomingItem, IncomingMessage, Raw, Recorded, Verdict};
use store::{Tenant, alert, item};
use tokio::time::{Instant, timeout_at};

use super::{Flow, New, Reading, large};
use crate::ending::Interrupted;
use crate::servers::MEGABYTE;

/// How long after its first failure an item is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(300);
/// Claims that died in a row, after which a cycle takes one item at a time (design section 5).
const CAREFUL_AFTER: u32 = 2;
/// Deaths over one item, after which nobody looks into it any more.
const DEADLY: u32 = 3;
/// A header that is longer than this is not read to judge a message by its age.
pub(super) const HEADER_BYTES: u64 = 256 * 1024;

/// So many messages that are refused, and no other that comes, are not the messages' fault.
const SEVERAL: usize = 3;

/// What fetching a batch gave.
struct Fetch {
    read: Vec<Read>,
    /// The server's words about each message that it would not give.
    refused: Vec<mail::Error>,
    /// What is decided without having been read.
    unread: Vec<IncomingItem>,
    /// Why there was no more.
    stopped: Option<Stopped>,
}

/// Why a batch ended before all of it was fetched. The session cannot be used any more.
pub(super) enum Stopped {
    /// The cycle's time is over, or messages turned out so large that they fill what memory there is for them.
    Enough,
    /// The connection ended in the middle of a message.
    Broke(mail::Error),
}

/// A message that was read, before anybody judged it.
pub(super) struct Read {
    pub(super) new: New,
    pub(super) message: ParsedMessage,
    pub(super) raw: Raw,
    pub(super) identity: model::identity::Identity,
    /// What it reports about an email, should it be a report.
    pub(super) report: Option<Report>,
}

impl Reading<'_> {
    /// Takes the next batch off the waiting messages, reads it and commits it.
    pub(super) async fn next_batch(
        &mut self,
        session: &mut Session,
        waiting: &mut VecDeque<New>,
    ) -> Result<Flow, Interrupted> {
        let config = self.cycle.parts.mail.config();
        let most = usize::try_from(config.batch_items).unwrap_or(usize::MAX);
        let fitting = config.caps().fitting(self.used, most, waiting.iter().map(|new| new.listed.size));
        let mut batch: Vec<New> = Vec::with_capacity(fitting);
        let (mut bytes, room) = (0, u64::from(config.batch_mb) * 1_000_000);
        while batch.len() < fitting.max(1)
            && let Some(new) = waiting.pop_front()
        {
            bytes = sum([bytes, new.listed.size]);
            let first = batch.is_empty();
            let alone = new.listed.size > config.whole_bytes() || self.is_dangerous(&new);
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
        let sizes = batch.iter().map(|new| match new.listed.size {
            size if size > limit => 0,
            size if size > config.whole_bytes() => large::TAKES,
            size => size,
        });
        let memory = self.cycle.parts.mail.fetched();
        let Some(mut held) = memory.reserve(self.cycle.mailbox.profile, sizes.collect(), self.until).await
        else {
            tracing::info!("no memory for the next message until the time was over: the rest waits");
            return Ok(Flow::Full);
        };
        for new in batch.drain(held.count..).rev() {
            waiting.push_front(new);
        }
        if let [one] = batch.as_slice()
            && self.is_dangerous(one)
        {
            if one.deaths >= DEADLY {
                let one = one.clone();
                return large::keep_raw(self, session, &one).await;
            }
            self.take_in_hand(one).await?;
        }
        self.used.items = self.used.items.saturating_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        self.used.bytes = sum(batch.iter().map(|new| new.listed.size).chain([self.used.bytes]));

        let (fetchable, oversize): (Vec<New>, Vec<New>) =
            batch.into_iter().partition(|new| new.listed.size <= limit);
        let mut items = self.by_header(session, oversize, true).await?.0;
        let fetchable = if self.must_judge_age(session) {
            let (old, young) = self.by_header(session, fetchable, false).await?;
            items.extend(old);
            young
        } else {
            fetchable
        };
        if let [one] = fetchable.as_slice()
            && one.listed.size > self.cycle.parts.mail.config().whole_bytes()
        {
            return large::record(self, session, one, items).await;
        }
        held.keep(sum(fetchable.iter().map(|new| new.listed.size)));
        crash::point(Point::FetchBefore);
        let Fetch { read, refused, unread, stopped } = self.fetch(session, fetchable, room).await?;
        crash::point(Point::FetchAfter);
        let asked_for = u32::try_from(read.len() + unread.len()).unwrap_or(u32::MAX);
        self.retrieved = self.retrieved.saturating_add(asked_for);
        self.gives |= !read.is_empty() || unread.len() > refused.len();
        // One refusal that speaks of the server itself weighs as much as several that do not (RFC 3206 section 4).
        if !self.gives
            && (refused.len() >= SEVERAL || refused.iter().any(mail::Error::is_of_the_system))
            && !self.gives_a_known_one(session).await?
            && let Some(error) = refused.first()
        {
            return Err(Interrupted::Withheld(refused.len(), error.clone()));
        }
        items.extend(unread);
        let tenant = self.fenced_for_batch().await?;
        items.extend(self.judged(&tenant, read).await?);
        self.among_the_young = !items.iter().any(is_old);
        self.commit(tenant, items).await?;
        drop(held);
        if let Some(Stopped::Broke(error)) = &stopped
            && error.was_sent_ahead()
        {
            self.lost_what_was_sent_ahead(error).await?;
        }
        self.after(stopped)
    }

    /// Whether the server gives a message that was recorded before: then what it refuses are single messages, else it
    /// gives none. Asked once, when all others were refused.
    async fn gives_a_known_one(&mut self, session: &mut Session) -> Result<bool, Interrupted> {
        let whole = self.cycle.parts.mail.config().whole_bytes();
        let Some(known) = self.known.take().filter(|known| known.size <= whole) else { return Ok(false) };
        let limit = self.cycle.mailbox.max_message_bytes.max(known.size);
        let known = [known];
        let fetched = session.retrieve_many(&known, 1, limit).next().await?;
        self.gives = !matches!(fetched, Some((_, Fetched::Refused(_))));
        Ok(self.gives)
    }

    /// Whether a process may die over this item: one died over it, or the claims before this one died over what nobody
    /// knows.
    fn is_dangerous(&self, new: &New) -> bool {
        new.deaths > 0 || self.cycle.claimed.deaths >= CAREFUL_AFTER
    }

    /// Commits that this item alone is in hand, so that it shows over which one a process died.
    async fn take_in_hand(&self, new: &New) -> Result<(), Interrupted> {
        let tenant = self.fenced().await?;
        let mailbox = self.cycle.mailbox.id;
        item::take_in_hand(&tenant, mailbox, &self.folder, &new.item_id, new.listed.size).await?;
        Ok(tenant.commit().await?)
    }

    /// What follows from how a batch ended, once what it gave is committed. A connection that broke in the middle of
    /// a message is blamed on that message, which failed; on the mailbox only when nothing else came of the cycle.
    pub(super) fn after(&self, stopped: Option<Stopped>) -> Result<Flow, Interrupted> {
        match stopped {
            None => Ok(Flow::GoOn),
            Some(Stopped::Broke(error)) if self.decided <= 1 => Err(Interrupted::Mail(error)),
            Some(Stopped::Broke(error)) => {
                tracing::info!("the connection ended in the middle of a message, the rest waits: {error}");
                Ok(Flow::Stop)
            }
            Some(Stopped::Enough) => Ok(Flow::Stop),
        }
    }

    /// Whether headers are worth asking for first: messages may be older than the floor until a whole listing was
    /// decided about once, and old ones stand together. Where none was old, the next are read at once; one that is old
    /// after all is judged when it is read.
    fn must_judge_age(&self, session: &Session) -> bool {
        let may_be_old =
            self.cycle.mailbox.floor.is_some() && !self.cursor.caught_up && !self.among_the_young;
        may_be_old && session.capabilities().top
    }

    /// Decides from headers alone: what is older than the floor, and what is too large. Gives back the rest.
    async fn by_header(
        &mut self,
        session: &mut Session,
        batch: Vec<New>,
        oversize: bool,
    ) -> Result<(Vec<IncomingItem>, Vec<New>), Interrupted> {
        if batch.is_empty() {
            return Ok((Vec::new(), batch));
        }
        let wanted: Vec<Listed> = batch.iter().map(|new| new.listed.clone()).collect();
        let mut headers = Vec::with_capacity(wanted.len());
        if session.capabilities().top {
            let window = self.window();
            let mut fetching = session.top_many(&wanted, 0, window, HEADER_BYTES);
            loop {
                let fetched = match fetching.next().await {
                    Ok(Some((_, fetched))) => fetched,
                    Ok(None) => break,
                    Err(error) => return Err(self.broke_at(batch.get(headers.len()), error).await),
                };
                let header = match fetched {
                    Fetched::Whole(header) => Some(header),
                    Fetched::TooLarge | Fetched::Refused(_) => None,
                };
                if header.is_none() && !fetching.is_usable() {
                    // Its header has no end.
                    let error = mail::Error::new(Phase::Fetch, Kind::TooLarge("a header"));
                    return Err(self.broke_at(batch.get(headers.len()), error).await);
                }
                headers.push(header);
            }
        }
        let (floor, limits) = (self.cycle.mailbox.floor, mime::Limits::default());
        let (mut decided, mut rest) = (Vec::new(), Vec::new());
        for (index, new) in batch.into_iter().enumerate() {
            let header =
                headers.get(index).and_then(Option::as_ref).map(|header| mime::parse(header, &limits));
            let received_at = header.as_ref().and_then(|header| header.received.or(header.date));
            let old = before_the_floor(received_at, floor);
            let (verdict, rule) = match (old, oversize) {
                (true, _) => (Verdict::Skip(Decision::BeforeTheFloor), Rule::Floor),
                (false, true) => (Verdict::Skip(Decision::TooLarge), Rule::Size),
                (false, false) => {
                    rest.push(new);
                    continue;
                }
            };
            decided.push(IncomingItem {
                item_id: new.item_id,
                size: new.listed.size,
                received_at,
                message_id: header.and_then(|header| header.message_id),
                rule: rule.to_string(),
                verdict,
            });
        }
        Ok((decided, rest))
    }

    /// Blames a connection that broke on the message whose header was asked for, before the cycle fails with it.
    async fn broke_at(&mut self, new: Option<&New>, error: mail::Error) -> Interrupted {
        let Some(new) = new else { return error.into() };
        let blamed = async {
            let tenant = self.fenced().await?;
            self.commit(tenant, vec![new.failed(format!("the connection ended over it: {error}"))]).await
        };
        match blamed.await {
            Ok(()) => error.into(),
            Err(interrupted) => interrupted,
        }
    }

    /// Fetches whole messages and parses them, off the threads that talk to servers. `room` is what a batch should
    /// have of memory: what the listing said to be smaller than it is stops a batch at twice of that.
    #[tracing::instrument(name = "pop3.fetch", skip_all, fields(messages = batch.len()))]
    async fn fetch(&self, session: &mut Session, batch: Vec<New>, room: u64) -> Result<Fetch, Interrupted> {
        let wanted: Vec<Listed> = batch.iter().map(|new| new.listed.clone()).collect();
        let mut whole: Vec<(New, Bytes)> = Vec::with_capacity(batch.len());
        let (mut unread, mut refused, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut fetching =
            session.retrieve_many(&wanted, self.window(), self.cycle.mailbox.max_message_bytes);
        let mut batch = batch.into_iter();
        let stopped = loop {
            let some = self.decided > 0 || !whole.is_empty();
            if bytes > 2 * room || (some && Instant::now() >= self.until) {
                break (batch.len() > 0).then_some(Stopped::Enough);
            }
            // The first message of a cycle may take all the time that one message has; the others the cycle's.
            let next = if some {
                match timeout_at(self.until, fetching.next()).await {
                    Ok(next) => next,
                    Err(_) => break Some(Stopped::Enough),
                }
            } else {
                fetching.next().await
            };
            let (new, fetched) = match (next, batch.next()) {
                (Ok(Some((_, fetched))), Some(new)) => (new, fetched),
                // Not the message's fault: asked for in its turn, it may come.
                (Err(error), Some(_)) if error.was_sent_ahead() => break Some(Stopped::Broke(error)),
                (Err(error), Some(new)) => {
                    unread.push(new.failed(format!("the connection ended over it: {error}")));
                    break Some(Stopped::Broke(error));
                }
                (Err(error), None) => return Err(error.into()),
                (Ok(_), _) => break None,
            };
            match fetched {
                Fetched::Whole(raw) => {
                    bytes += raw.len() as u64;
                    whole.push((new, raw));
                }
                // The listing lied about the size.
                Fetched::TooLarge => unread.push(new.too_large()),
                Fetched::Refused(why) => {
                    unread.push(new.failed(format!("the server would not give it: {why}")));
                    refused.push(why);
                }
            }
        };
        let limits = mime::Limits::default();
        let read = tokio::task::spawn_blocking(move || {
            whole.into_iter().map(|(new, raw)| read(new, raw, &limits)).collect::<Vec<_>>()
        })
        .await
        .map_err(|_| store::Error::Broken("parsing a message ended its thread".to_owned()))?;
        Ok(Fetch { read, refused, unread, stopped })
    }

    /// Records, item decisions and alerts in one transaction. Nothing is written once the connection was given up: what
    /// ended then ended because of us, and no message is to blame.
    #[tracing::instrument(name = "store.record", skip_all, fields(items = items.len()))]
    pub(super) async fn commit(
        &mut self,
        tenant: Tenant,
        items: Vec<IncomingItem>,
    ) -> Result<(), Interrupted> {
        if self.cycle.ends().is_silent() {
            return Err(Interrupted::LeaseLost);
        }
        let by = self.cycle.author();
        let batch = IncomingBatch {
            mailbox: self.cycle.mailbox.id,
            folder: &self.folder,
            items,
            cursor: None,
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
        let kept = recorded.iter().filter(|item| {
            matches!(item.decision, Decision::Recorded | Decision::Duplicate) && item.email.is_some()
        });
        self.kept_here.extend(kept.map(|item| item.item_id.clone()));
        self.decided = self.decided.saturating_add(u32::try_from(recorded.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Raises what people must know about an item, and takes back what was said of one that came in after all.
    async fn tell(&self, tenant: &Tenant, item: &IncomingItem, outcome: &Recorded) -> store::Result<()> {
        let mailbox = Subject::Mailbox(self.cycle.mailbox.id);
        if outcome.was_decided && matches!(outcome.decision, Decision::Recorded | Decision::Duplicate) {
            let said = [AlertKind::MessageTooLarge, AlertKind::MessageUndeliverable];
            alert::resolve(tenant, &said, mailbox, Some(&item.item_id)).await?;
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

    pub(super) fn window(&self) -> usize {
        usize::try_from(self.cycle.parts.mail.config().pipeline).unwrap_or(1).max(1)
    }
}

impl New {
    /// It could not be fetched this time.
    pub(super) fn failed(&self, why: String) -> IncomingItem {
        self.unread(Rule::Fetch, Verdict::Fail(why))
    }

    /// It is larger than the limit, whatever the listing said.
    pub(super) fn too_large(&self) -> IncomingItem {
        self.unread(Rule::Size, Verdict::Skip(Decision::TooLarge))
    }

    fn unread(&self, rule: Rule, verdict: Verdict) -> IncomingItem {
        IncomingItem {
            item_id: self.item_id.clone(),
            size: self.listed.size,
            received_at: None,
            message_id: None,
            rule: rule.to_string(),
            verdict,
        }
    }
}

/// Of sizes that a server says: it may say anything.
fn sum(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

fn is_old(item: &IncomingItem) -> bool {
    matches!(item.verdict, Verdict::Skip(Decision::BeforeTheFloor))
}

fn read(new: New, raw: Bytes, limits: &mime::Limits) -> Read {
    let message = mime::parse(&raw, limits);
    let identity = identity(&message, &raw);
    let report = report(&message);
    Read { new, message, raw: Raw::Bytes(raw), identity, report }
}

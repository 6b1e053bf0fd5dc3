//! One batch: what is too large or too old is decided from its header, the rest is fetched pipelined, and everything is
//! committed together.

use std::collections::VecDeque;

use bytes::Bytes;
use mail::error::{Kind, Phase};
use mail::mime;
use mail::pop3::{Fetched, Listed, Session};
use model::accept::{Rule, before_the_floor};
use model::crash::{self, Point};
use model::email::Decision;
use store::Tenant;
use store::incoming::{IncomingItem, Verdict};
use tokio::time::{Instant, timeout_at};

use super::super::intake::{self, DEADLY, Flow, Read, Waiting, Whole, sum};
use super::{New, Reading, large};
use crate::ending::Interrupted;

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

impl Reading<'_> {
    /// Takes the next batch off the waiting messages, reads it and commits it.
    pub(super) async fn next_batch(
        &mut self,
        session: &mut Session,
        waiting: &mut VecDeque<New>,
    ) -> Result<Flow, Interrupted> {
        let Some((batch, mut held)) = self.intake.next_batch(waiting).await else { return Ok(Flow::Full) };
        let (limit, room) = (self.intake.cycle.mailbox.max_message_bytes, self.intake.room());
        if let [one] = batch.as_slice()
            && self.intake.is_dangerous(one.deaths)
        {
            if one.deaths >= DEADLY {
                let one = one.clone();
                return large::keep_raw(self, session, &one).await;
            }
            self.intake.take_in_hand(&one.item_id, one.listed.size).await?;
        }

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
            && one.listed.size > self.intake.cycle.parts.mail.config().whole_bytes()
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
        let tenant = self.intake.fenced_for_batch().await?;
        items.extend(self.intake.judged(&tenant, read).await?);
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
        let whole = self.intake.cycle.parts.mail.config().whole_bytes();
        let Some(known) = self.known.take().filter(|known| known.size <= whole) else { return Ok(false) };
        let limit = self.intake.cycle.mailbox.max_message_bytes.max(known.size);
        let known = [known];
        let fetched = session.retrieve_many(&known, 1, limit).next().await?;
        self.gives = !matches!(fetched, Some((_, Fetched::Refused(_))));
        Ok(self.gives)
    }

    /// What follows from how a batch ended, once what it gave is committed. A connection that broke in the middle of
    /// a message is blamed on that message, which failed; on the mailbox only when nothing else came of the cycle.
    pub(super) fn after(&self, stopped: Option<Stopped>) -> Result<Flow, Interrupted> {
        match stopped {
            None => Ok(Flow::GoOn),
            Some(Stopped::Broke(error)) if self.intake.decided <= 1 => Err(Interrupted::Mail(error)),
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
            self.intake.cycle.mailbox.floor.is_some() && !self.cursor.caught_up && !self.among_the_young;
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
        let (floor, limits) = (self.intake.cycle.mailbox.floor, mime::Limits::default());
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
            let tenant = self.intake.fenced().await?;
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
            session.retrieve_many(&wanted, self.window(), self.intake.cycle.mailbox.max_message_bytes);
        let mut batch = batch.into_iter();
        let stopped = loop {
            let some = self.intake.decided > 0 || !whole.is_empty();
            if bytes > 2 * room || (some && Instant::now() >= self.intake.until) {
                break (batch.len() > 0).then_some(Stopped::Enough);
            }
            // The first message of a cycle may take all the time that one message has; the others the cycle's.
            let next = if some {
                match timeout_at(self.intake.until, fetching.next()).await {
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
        let whole = whole.into_iter().map(|(new, raw)| Whole {
            item_id: new.item_id,
            size: new.listed.size,
            received_at: None,
            raw,
        });
        let read = intake::read_all(whole.collect()).await?;
        Ok(Fetch { read, refused, unread, stopped })
    }

    /// Writes down what was decided.
    pub(super) async fn commit(
        &mut self,
        tenant: Tenant,
        items: Vec<IncomingItem>,
    ) -> Result<(), Interrupted> {
        let kept = self.intake.commit(tenant, items, None).await?;
        self.kept_here.extend(kept);
        Ok(())
    }

    pub(super) fn window(&self) -> usize {
        usize::try_from(self.intake.cycle.parts.mail.config().pipeline).unwrap_or(1).max(1)
    }
}

impl Waiting for New {
    fn size(&self) -> u64 {
        self.listed.size
    }

    fn deaths(&self) -> u32 {
        self.deaths
    }
}

impl New {
    /// It could not be fetched this time.
    pub(super) fn failed(&self, why: String) -> IncomingItem {
        intake::failed(&self.item_id, self.listed.size, why)
    }

    /// It is larger than the limit, whatever the listing said.
    pub(super) fn too_large(&self) -> IncomingItem {
        intake::too_large(&self.item_id, self.listed.size)
    }
}

fn is_old(item: &IncomingItem) -> bool {
    matches!(item.verdict, Verdict::Skip(Decision::BeforeTheFloor))
}

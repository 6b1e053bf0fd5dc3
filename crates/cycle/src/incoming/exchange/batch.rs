//! One batch of messages: fetched in one request, judged, and committed together.

use std::collections::VecDeque;

use mail::error::Kind;
use mail::ews::{self, Fetched, ItemId, Session};
use model::crash::{self, Point};
use serde_json::Value;
use store::incoming::IncomingItem;
use store::item;
use tokio::time::{Instant, timeout_at};

use super::super::intake::{self, DEADLY, Flow, Read, Whole, sum};
use super::large::{self, How};
use super::{New, Reading};
use crate::ending::Interrupted;

/// So many messages that are refused, and no other that comes, are not the messages' fault.
const SEVERAL: usize = 3;

/// What fetching a batch gave.
#[derive(Default)]
struct Fetch {
    read: Vec<Read>,
    /// The server's words about each message that it would not give.
    refused: Vec<mail::Error>,
    /// What is decided without having been read.
    unread: Vec<IncomingItem>,
    /// What is no longer in the mailbox, or has another name now.
    left: Vec<String>,
    /// Why there was no more.
    stopped: Option<Stopped>,
}

/// Why a batch ended before all of it was fetched.
enum Stopped {
    /// The cycle's time is over, or messages turned out so large that they fill what memory there is for them.
    Enough,
    /// The connection ended in the middle of a message.
    Broke(mail::Error),
    /// The server wants to be left alone, or will not be spoken to: no message is to blame.
    Over(mail::Error),
}

impl Reading<'_> {
    /// Takes the next batch off the waiting messages, reads it and commits it with what was decided before; with the cursor
    /// when nothing waits any more.
    pub(super) async fn next_batch(
        &mut self,
        session: &mut Session,
        waiting: &mut VecDeque<New>,
        mut items: Vec<IncomingItem>,
        cursor: Option<&Value>,
    ) -> Result<Flow, Interrupted> {
        let Some((batch, mut held)) = self.intake.next_batch(waiting).await else { return Ok(Flow::Full) };
        let cursor = cursor.filter(|_| waiting.is_empty()).cloned();
        if let [one] = batch.as_slice() {
            if self.intake.is_dangerous(one.deaths) {
                if one.deaths >= DEADLY {
                    return large::take(self, session, one, How::AsItIs, items, cursor).await;
                }
                self.intake.take_in_hand(&one.id.id, one.size).await?;
            }
            if one.size > self.intake.cycle.parts.mail.config().whole_bytes() {
                return large::take(self, session, one, How::Read, items, cursor).await;
            }
        }
        held.keep(sum(batch.iter().map(|new| new.size)));
        crash::point(Point::FetchBefore);
        let Fetch { read, refused, unread, left, stopped } = self.fetch(session, batch).await?;
        crash::point(Point::FetchAfter);
        self.gives |= !read.is_empty() || unread.len() > refused.len();
        if !self.gives
            && refused.len() >= SEVERAL
            && let Some(error) = refused.first()
        {
            return Err(Interrupted::Withheld(refused.len(), error.clone()));
        }
        items.extend(unread);
        let tenant = self.intake.fenced_for_batch().await?;
        item::left(&tenant, self.intake.cycle.mailbox.id, &self.intake.folder, &left).await?;
        items.extend(self.intake.judged(&tenant, read).await?);
        let cursor = cursor.filter(|_| stopped.is_none());
        self.intake.commit(tenant, items, cursor).await?;
        match stopped {
            None => Ok(Flow::GoOn),
            Some(Stopped::Enough) => Ok(Flow::Full),
            Some(Stopped::Over(error)) => Err(error.into()),
            Some(Stopped::Broke(error)) if self.intake.decided <= 1 => Err(error.into()),
            Some(Stopped::Broke(error)) => {
                tracing::info!("the connection ended in the middle of a message, the rest waits: {error}");
                Ok(Flow::Stop)
            }
        }
    }

    /// Fetches whole messages and parses them. What the listing said to be smaller than it is stops a batch at twice of what
    /// it should have of memory.
    #[tracing::instrument(name = "ews.fetch", skip_all, fields(messages = batch.len()))]
    async fn fetch(&self, session: &mut Session, batch: Vec<New>) -> Result<Fetch, Interrupted> {
        let ids: Vec<ItemId> = batch.iter().map(|new| new.id.clone()).collect();
        let mut whole = Vec::with_capacity(batch.len());
        let (mut fetch, mut bytes) = (Fetch::default(), 0);
        let most = 2 * self.intake.room();
        let mut batch = batch.into_iter();
        let mut fetching = match session.get_items(&ids, self.intake.cycle.mailbox.max_message_bytes).await {
            Ok(fetching) => fetching,
            Err(error) => return Ok(Fetch { stopped: Some(Stopped::Over(error)), ..fetch }),
        };
        fetch.stopped = loop {
            let some = self.intake.decided > 0 || !whole.is_empty();
            if bytes > most || (some && Instant::now() >= self.intake.until) {
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
                (Err(error), Some(new)) if is_about_the_message(&error) => {
                    let why = format!("the connection ended over it: {error}");
                    fetch.unread.push(intake::failed(&new.id.id, new.size, why));
                    break Some(Stopped::Broke(error));
                }
                (Err(error), _) => break Some(Stopped::Over(error)),
                // An answer that lacks some of what was asked for leaves them for another time.
                (Ok(None), Some(new)) => {
                    let why = "the server's answer lacks it".to_owned();
                    fetch.unread.push(intake::failed(&new.id.id, new.size, why));
                    continue;
                }
                (Ok(_), None) => break None,
            };
            match fetched {
                Fetched::Whole(raw) => {
                    bytes += raw.len() as u64;
                    let New { id, size, received_at, .. } = new;
                    whole.push(Whole { item_id: id.id, size, received_at, raw });
                }
                // The listing lied about the size.
                Fetched::TooLarge => fetch.unread.push(intake::too_large(&new.id.id, new.size)),
                Fetched::Refused(why) if *why.kind() == Kind::NotFound => fetch.left.push(new.id.id),
                // No message is to blame for what concerns them all.
                Fetched::Refused(why) if ews::is_about_the_mailbox(&why) => break Some(Stopped::Over(why)),
                Fetched::Refused(why) => {
                    let words = format!("the server would not give it: {why}");
                    fetch.unread.push(intake::failed(&new.id.id, new.size, words));
                    fetch.refused.push(why);
                }
            }
        };
        drop(fetching);
        session.settle();
        fetch.read = intake::read_all(whole).await?;
        Ok(fetch)
    }
}

/// Whether what ended an answer may lie in the message that was to come next.
fn is_about_the_message(error: &mail::Error) -> bool {
    matches!(error.kind(), Kind::Closed | Kind::TimedOut | Kind::Violation(_) | Kind::TooLarge(_))
}

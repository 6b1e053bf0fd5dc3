//! Incoming mail over POP3: list, ask the store what is new, fetch that in pipelined batches, commit each, and say
//! QUIT only when everything that was fetched is committed.

mod batch;
mod cursor;
mod deletion;
mod entry;
mod known;
mod large;
mod listing;

use std::collections::VecDeque;

use mail::pop3::{Listed, Session};
use model::alert::AlertKind;
use model::crash::{self, Point};
use serde_json::json;
use store::{Tenant, item};
use tokio::time::Instant;

use super::intake::{Flow, Intake};
use crate::ending::{Ending, Interrupted};
use crate::start::Cycle;
use cursor::Cursor;
use entry::Entry;
use listing::Listing;

/// Fewer messages than this may vanish at once without anybody being told.
const MANY: u64 = 10;

/// Of so many messages that were recorded before, the smallest is asked for when the server refuses all that are new.
const SAMPLES: u32 = 20;

/// A message of the listing that has no decision yet, or is to be decided about anew.
#[derive(Clone, Debug)]
struct New {
    listed: Listed,
    item_id: String,
    /// How often in a row its process died while it alone was in hand.
    deaths: u32,
}

/// One cycle's reading of a mailbox.
struct Reading<'a> {
    intake: Intake<'a>,
    /// What the cycle before left.
    cursor: Cursor,
    /// A message that was recorded before and is still listed.
    known: Option<Listed>,
    /// Whether the server gave a message in this cycle.
    gives: bool,
    /// Whether nothing in the last batch was older than the floor.
    among_the_young: bool,
    /// How many messages were asked for whole in this session.
    retrieved: u32,
    /// Items that were read in this session and are recorded for good.
    kept_here: Vec<String>,
}

pub(super) async fn run(cycle: &Cycle) -> Result<Ending, Interrupted> {
    let started = Instant::now();
    let caps = cycle.parts.mail.config().caps();
    let mut reading = Reading {
        intake: Intake::of(cycle),
        cursor: Cursor::default(),
        known: None,
        gives: false,
        among_the_young: false,
        retrieved: 0,
        kept_here: Vec::new(),
    };
    let Entry { mut session, listed } = reading.enter().await?;
    let listing = Listing::of(&listed);
    drop(listed);
    let mut waiting = reading.compare(&mut session, &listing).await?;
    tracing::debug!(listed = listing.len(), new = waiting.len(), "listed");
    let listing = Some(listing).filter(|_| cycle.mailbox.delete_after_processing);

    let mut cut_off = false;
    while !waiting.is_empty() {
        if caps.reached(reading.intake.used, started.elapsed()) || cycle.parts.drain.is_cancelled() {
            cut_off = true;
            break;
        }
        match reading.next_batch(&mut session, &mut waiting).await? {
            Flow::GoOn => {}
            Flow::Full => {
                cut_off = true;
                break;
            }
            // No QUIT: the two sides may disagree about where they are.
            Flow::Stop => return Ok(Ending::done(reading.intake.decided, true)),
        }
    }
    if !cut_off && !reading.cursor.caught_up {
        reading.leave(Cursor { caught_up: true, ..reading.cursor }).await?;
    }
    if !reading.may_quit(&session) {
        tracing::debug!("no QUIT: it would delete what was read");
        session.drop_without_quit();
        return Ok(Ending::done(reading.intake.decided, cut_off));
    }
    let asked = match &listing {
        Some(listing) => reading.delete(&mut session, listing).await?,
        None => Vec::new(),
    };
    // Everything is committed: what QUIT says decides nothing but deletions, and those are asked for again.
    match session.quit().await {
        Ok(true) => {
            crash::point(Point::QuitAfter);
            reading.deleted(&asked).await?;
        }
        Ok(false) => tracing::warn!(asked = asked.len(), "the server kept what it was asked to delete"),
        Err(error) => tracing::debug!("QUIT was not answered: {error}"),
    }
    Ok(Ending::done(reading.intake.decided, cut_off))
}

impl Reading<'_> {
    /// Asks the store which of the listed items have no decision: one query, however long the listing. Not more of
    /// them are kept than a cycle may have.
    async fn compare(
        &mut self,
        session: &mut Session,
        listing: &Listing,
    ) -> Result<VecDeque<New>, Interrupted> {
        let mailbox = self.intake.cycle.mailbox.id;
        let tenant = self.intake.fenced().await?;
        let loses_what_is_sent_ahead =
            self.cursor.loses_what_is_sent_ahead || self.intake.cycle.mailbox.sends_nothing_ahead;
        let value = self.intake.cursor(&tenant).await?;
        self.cursor = Cursor { loses_what_is_sent_ahead, ..Cursor::read(value.as_ref()) };
        let mut back = 0;
        if session.listed_all() {
            let compared = item::mark_gone(&tenant, mailbox, &self.intake.folder, listing.item_ids()).await?;
            self.tell_what_left(&tenant, &compared).await?;
            back = compared.back;
        }
        let tenant = if back > 0 {
            tenant.commit().await?;
            self.meet_again(session, listing).await?;
            self.intake.fenced().await?
        } else {
            tenant
        };
        // One more than may be read shows that something is left.
        let most = usize::try_from(self.intake.cycle.parts.mail.config().max_items).unwrap_or(usize::MAX);
        let most = most.saturating_add(1);
        // What failed before comes last: a message that breaks its connection each time holds up none of the others.
        let unknown = item::unknown(&tenant, mailbox, &self.intake.folder, listing.item_ids(), most).await?;
        if !unknown.is_empty() {
            let kept = item::kept(&tenant, mailbox, &self.intake.folder, listing.item_ids(), SAMPLES).await?;
            let kept = kept.iter().filter_map(|known| Some(listing.get(known.index)?.0));
            self.known = kept.min_by_key(|listed| listed.size);
        }
        tenant.commit().await?;
        let new = unknown.into_iter().filter_map(|unknown| {
            let (listed, item_id) = listing.get(unknown.index)?;
            Some(New { listed, item_id: item_id.to_owned(), deaths: unknown.deaths })
        });
        Ok(new.collect())
    }

    /// Tells people about messages that left without us, and reads with care what may come in their place: most names
    /// at once are rather new names for the same messages, young and old.
    async fn tell_what_left(
        &mut self,
        tenant: &Tenant,
        compared: &item::Compared,
    ) -> Result<(), Interrupted> {
        if compared.unread > 0 {
            self.intake.warn(tenant, AlertKind::MessagesVanished, json!({"count": compared.unread})).await?;
        }
        if compared.gone >= MANY && compared.gone * 2 > compared.known {
            let parameters = json!({"gone": compared.gone, "known": compared.known});
            self.intake.warn(tenant, AlertKind::MailboxEmptied, parameters).await?;
            self.cursor.caught_up = false;
            self.intake.put_cursor(tenant, &self.cursor.value()).await?;
        }
        Ok(())
    }

    async fn read_cursor(&self) -> Result<Cursor, Interrupted> {
        let tenant = self.intake.fenced().await?;
        let value = self.intake.cursor(&tenant).await?;
        tenant.commit().await?;
        Ok(Cursor::read(value.as_ref()))
    }

    /// Leaves this for the next cycle.
    async fn leave(&mut self, cursor: Cursor) -> Result<(), Interrupted> {
        let tenant = self.intake.fenced().await?;
        self.intake.put_cursor(&tenant, &cursor.value()).await?;
        tenant.commit().await?;
        self.cursor = cursor;
        Ok(())
    }
}

//! Incoming mail from an Exchange server: what changed in the inbox since the cursor, page by page. What is new of it is
//! fetched in batches, and the cursor is committed with the last of a page, never before.

mod batch;
mod cursor;
mod entry;
mod large;
mod page;

use jiff::Timestamp;
use mail::ews::{ItemId, Session};
use model::crash::{self, Point};
use store::item;
use tokio::time::Instant;

use super::intake::{Flow, Intake, Waiting};
use crate::ending::{Ending, Interrupted};
use crate::start::Cycle;
use cursor::Cursor;
use entry::Entry;

/// A message that has no decision yet, or is to be decided about anew.
#[derive(Clone, Debug)]
struct New {
    id: ItemId,
    size: u64,
    /// When the server received it, by its own word.
    received_at: Option<Timestamp>,
    /// How often in a row its process died while it alone was in hand.
    deaths: u32,
}

impl Waiting for New {
    fn size(&self) -> u64 {
        self.size
    }

    fn deaths(&self) -> u32 {
        self.deaths
    }
}

/// One cycle's reading of an inbox.
struct Reading<'a> {
    intake: Intake<'a>,
    cursor: Cursor,
    /// Whether the server gave a message in this cycle.
    gives: bool,
}

pub(super) async fn run(cycle: &Cycle) -> Result<Ending, Interrupted> {
    let started = Instant::now();
    let caps = cycle.parts.mail.config().caps();
    let mut reading = Reading { intake: Intake::of(cycle), cursor: Cursor::default(), gives: false };
    let Entry { mut session, mut page } = reading.enter().await?;
    crash::point(Point::SignInAfter);
    let mut cut_off = false;
    loop {
        let last = page.last;
        match reading.take_in(&mut session, page).await? {
            Flow::GoOn => {}
            Flow::Full => {
                cut_off = true;
                break;
            }
            Flow::Stop => return Ok(Ending::done(reading.intake.decided, true)),
        }
        if last {
            break;
        }
        if caps.reached(reading.intake.used, started.elapsed()) || cycle.parts.drain.is_cancelled() {
            cut_off = true;
            break;
        }
        page = reading.changes(&mut session).await?;
    }
    // What failed before comes last: a message that breaks its connection each time holds up none of the others.
    if !cut_off && reading.again(&mut session).await? != Flow::GoOn {
        return Ok(Ending::done(reading.intake.decided, true));
    }
    session.close();
    Ok(Ending::done(reading.intake.decided, cut_off))
}

impl Reading<'_> {
    /// Reads again what failed and whose time has come, and what somebody wants to be examined again. No page names it: the
    /// cursor has passed it.
    async fn again(&mut self, session: &mut Session) -> Result<Flow, Interrupted> {
        let config = self.intake.cycle.parts.mail.config();
        let most = config.max_items.saturating_sub(self.intake.used.items).max(1);
        let tenant = self.intake.fenced().await?;
        let due = item::due_again(&tenant, self.intake.cycle.mailbox.id, &self.intake.folder, most).await?;
        tenant.commit().await?;
        let waiting = due.into_iter().map(|due| New {
            id: ItemId { id: due.item_id, change_key: None },
            size: due.size,
            received_at: due.received_at,
            deaths: due.deaths,
        });
        let mut waiting = waiting.collect();
        self.read(session, &mut waiting, Vec::new(), None).await
    }
}

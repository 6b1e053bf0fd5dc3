//! Incoming mail from an Exchange server: what changed in the inbox and the other folders that are read since their cursors,
//! page by page. What is new of it is fetched in batches, and the cursor is committed with the last of a page, never before.

mod batch;
mod cursor;
mod entry;
mod folders;
mod large;
mod page;
mod undeliverable;

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use mail::ews::{ItemId, ItemPage, Session};
use model::crash::{self, Point};
use model::rate::RateUnit;
use store::item;

use super::intake::{Flow, Intake, Waiting};
use crate::ending::{Ending, Interrupted};
use crate::pace::STEP;
use crate::start::Cycle;
use cursor::Cursor;
use entry::Entry;
use folders::{Asked, Place};

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

/// One cycle's reading of a mailbox.
struct Reading<'a> {
    intake: Intake<'a>,
    /// The folder whose turn it is.
    place: Place,
    /// How far that one was read.
    cursor: Cursor,
    /// The folders whose changes are read.
    listed: Vec<String>,
    /// Whether the server gave a message in this cycle.
    gives: bool,
}

pub(super) async fn run(cycle: &Cycle) -> Result<Ending, Interrupted> {
    let mut reading = Reading {
        intake: Intake::of(cycle),
        place: Place::Inbox,
        cursor: Cursor::default(),
        listed: Vec::new(),
        gives: false,
    };
    let Entry { mut session, page, folders, mut turns } = reading.enter().await?;
    crash::point(Point::SignInAfter);
    let (mut page, mut may_list) = (Some(page), folders.is_due);
    // The inbox first, then the others in turn. Each has its share of the cycle, and what one leaves is for the others, and for
    // those that have more.
    while let Some(place) = turns.pop_front() {
        let turn = reading.take_turn(&mut session, &place, 1 + turns.len(), page.take()).await;
        match turn {
            Err(why) => match place.problem(&why) {
                Some((id, problem)) => reading.lost(id, problem).await?,
                None => return Err(why),
            },
            Ok(Flow::GoOn) => {}
            Ok(Flow::Full) if session.is_usable() => turns.push_back(place),
            Ok(Flow::Full | Flow::Stop) => return Ok(Ending::done(reading.intake.decided, true)),
        }
        if std::mem::take(&mut may_list) {
            match reading.list_folders(&mut session, &folders).await? {
                Asked::Read(places) => reading.add(&mut turns, places),
                Asked::Unknown => {}
                Asked::Broken => return Ok(Ending::done(reading.intake.decided, true)),
            }
        }
        session.settle();
        let goes_on = turns.is_empty() || cycle.pace.allows(&[(RateUnit::Requests, STEP)]).await;
        if reading.intake.is_over() || !goes_on {
            break;
        }
    }
    let cut_off = !turns.is_empty() || cycle.parts.drain.is_cancelled();
    // What failed before comes last: a message that breaks its connection each time holds up none of the others.
    if !cut_off && reading.again(&mut session).await? != Flow::GoOn {
        return Ok(Ending::done(reading.intake.decided, true));
    }
    if !cut_off && reading.put_away(&mut session).await? != Flow::GoOn {
        return Ok(Ending::done(reading.intake.decided, true));
    }
    session.close();
    Ok(Ending::done(reading.intake.decided, cut_off))
}

impl Reading<'_> {
    /// Reads what is new in a folder until its share is used up: one of so many that are still to come.
    async fn take_turn(
        &mut self,
        session: &mut Session,
        place: &Place,
        parts: usize,
        page: Option<ItemPage>,
    ) -> Result<Flow, Interrupted> {
        let mut page = match page {
            Some(page) => page,
            None => self.turn_to(session, place, parts).await?,
        };
        loop {
            let last = page.last;
            match self.take_in(session, page).await? {
                Flow::GoOn if last => return Ok(Flow::GoOn),
                Flow::GoOn if self.intake.is_full() => return Ok(Flow::Full),
                Flow::GoOn => {
                    session.settle();
                    if !self.intake.cycle.pace.allows(&[(RateUnit::Requests, STEP)]).await {
                        return Ok(Flow::Full);
                    }
                    page = self.changes(session).await?;
                }
                over => return Ok(over),
            }
        }
    }

    /// Reads again what failed and whose time has come, and what somebody wants to be examined again. No page names it: the
    /// cursor has passed it.
    async fn again(&mut self, session: &mut Session) -> Result<Flow, Interrupted> {
        let Intake { cycle, used, .. } = &self.intake;
        let most = cycle.parts.mail.config().max_items.saturating_sub(used.items).max(1);
        let within = cycle.mailbox.within();
        let tenant = self.intake.fenced().await?;
        let due = item::due_again(&tenant, self.intake.cycle.mailbox.id, &within, most).await?;
        tenant.commit().await?;
        let mut folders: BTreeMap<String, VecDeque<New>> = BTreeMap::new();
        for due in due {
            let new = New {
                id: ItemId { id: due.item_id, change_key: None },
                size: due.size,
                received_at: due.received_at,
                deaths: due.deaths,
            };
            folders.entry(due.folder).or_default().push_back(new);
        }
        for (folder, mut waiting) in folders {
            self.intake.turn_to(folder, 1);
            let flow = self.read(session, &mut waiting, Vec::new(), None).await?;
            if flow != Flow::GoOn {
                return Ok(flow);
            }
        }
        Ok(Flow::GoOn)
    }
}

//! Incoming mail over POP3: list, ask the store what is new, fetch that in pipelined batches, commit each, and say
//! QUIT only when everything that was fetched is committed.

mod batch;
mod judge;
mod large;
mod listing;

use std::collections::VecDeque;

use mail::pop3::{Listed, Session};
use model::alert::AlertKind;
use model::budget::Used;
use model::workload::Workload;
use serde_json::json;
use store::alert::{NewAlert, Subject};
use store::{Tenant, alert, cursor, item, schedule};
use tokio::time::Instant;

use crate::ending::{Ending, Interrupted};
use crate::start::Cycle;

/// Fewer messages than this may vanish at once without anybody being told.
const MANY: u64 = 10;

/// A message of the listing that has no decision yet.
#[derive(Clone, Debug)]
pub(crate) struct New {
    pub(crate) listed: Listed,
    pub(crate) item_id: String,
    /// Whether it failed before.
    pub(crate) again: bool,
}

/// One cycle's reading of a mailbox.
pub(crate) struct Reading<'a> {
    pub(crate) cycle: &'a Cycle,
    pub(crate) folder: String,
    /// Whether a whole listing was decided about before: what is new since then is younger than the floor.
    pub(crate) caught_up: bool,
    /// Whether nothing in the last batch was older than the floor.
    pub(crate) among_the_young: bool,
    pub(crate) used: Used,
    pub(crate) decided: u32,
    /// When the cycle's time is over: what is on its way then is left to the next one.
    pub(crate) until: Instant,
}

/// What became of the session with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next batch may go over it.
    GoOn,
    /// It cannot be used any more, and what it gave is committed: the rest is for another cycle.
    Stop,
}

pub(crate) async fn run(cycle: &Cycle) -> Result<Ending, Interrupted> {
    let started = Instant::now();
    let mail = &cycle.parts.mail;
    let (login, password) = cycle.credential().await?;
    let settings = mail.transport(&cycle.mailbox)?;
    let endpoint = &cycle.mailbox.server.incoming;
    let mut session = Session::sign_in(endpoint, &settings, mail.pop3_limits(), &login, &password).await?;
    drop(password);
    let listed = session.list().await?;
    let item_ids = listing::item_ids(&listed);
    let folder = cycle.mailbox.incoming_folder();
    let caps = mail.config().caps();
    let until = started + caps.time;
    let mut reading = Reading {
        cycle,
        folder,
        caught_up: false,
        among_the_young: false,
        used: Used::default(),
        decided: 0,
        until,
    };
    let mut waiting = reading.compare(&listed, &item_ids).await?;
    tracing::debug!(listed = listed.len(), new = waiting.len(), "listed");

    let mut cut_off = false;
    while !waiting.is_empty() {
        if caps.reached(reading.used, started.elapsed()) || cycle.parts.drain.is_cancelled() {
            cut_off = true;
            break;
        }
        if reading.next_batch(&mut session, &mut waiting).await? == Flow::Stop {
            // No QUIT: the two sides may disagree about where they are.
            return Ok(Ending::done(reading.decided, true));
        }
    }
    if !cut_off && !reading.caught_up {
        reading.catch_up().await?;
    }
    if cycle.mailbox.delete_after_processing {
        reading.delete(&mut session, &listed, &item_ids).await?;
    }
    // Everything is committed: what QUIT says decides nothing but deletions, and those are asked for again.
    if let Err(error) = session.quit().await {
        tracing::debug!("QUIT was not answered: {error}");
    }
    Ok(Ending::done(reading.decided, cut_off))
}

impl Reading<'_> {
    /// A transaction that may write only while the claim is ours.
    pub(crate) async fn fenced(&self) -> store::Result<Tenant> {
        let tenant = self.cycle.parts.store.tenant(self.cycle.organization).await?;
        schedule::fence(&tenant, self.cycle.claimed.claim).await?;
        Ok(tenant)
    }

    /// Asks the store which of the listed items have no decision: one query, however long the listing.
    async fn compare(
        &mut self,
        listed: &[Listed],
        item_ids: &[String],
    ) -> Result<VecDeque<New>, Interrupted> {
        let mailbox = &self.cycle.mailbox;
        let tenant = self.fenced().await?;
        let unknown = item::unknown(&tenant, mailbox.id, &self.folder, item_ids).await?;
        let gone = item::mark_gone(&tenant, mailbox.id, &self.folder, item_ids).await?;
        self.caught_up = cursor::get(&tenant, mailbox.id, Workload::Incoming, &self.folder).await?.is_some();
        // Where recorded mail is deleted on the server, by us, that much of it is gone each time.
        if !mailbox.delete_after_processing && gone.gone >= MANY && gone.gone * 2 > gone.known {
            let alert = NewAlert {
                kind: AlertKind::MailboxEmptied,
                subject: Subject::Mailbox(mailbox.id),
                detail: String::new(),
                parameters: json!({"gone": gone.gone, "known": gone.known}),
                server_said: None,
            };
            alert::raise(&tenant, &alert).await?;
        }
        tenant.commit().await?;
        let new = unknown.iter().filter_map(|unknown| {
            let listed = listed.get(unknown.index)?.clone();
            let item_id = item_ids.get(unknown.index)?.clone();
            Some(New { listed, item_id, again: unknown.attempts > 0 })
        });
        // What failed before comes last: a message that breaks its connection each time holds up none of the others.
        let (again, first): (Vec<New>, Vec<New>) = new.partition(|new| new.again);
        Ok(first.into_iter().chain(again).collect())
    }

    /// Notes that a whole listing is decided about.
    async fn catch_up(&self) -> Result<(), Interrupted> {
        let tenant = self.fenced().await?;
        let value = json!({"caught_up": true});
        cursor::put(&tenant, self.cycle.mailbox.id, Workload::Incoming, &self.folder, &value).await?;
        tenant.commit().await?;
        Ok(())
    }

    /// Asks the server to delete what is recorded here, for a queue whose mailbox asks for it. Takes effect at QUIT;
    /// asked again in the next cycle where it did not.
    async fn delete(
        &self,
        session: &mut Session,
        listed: &[Listed],
        item_ids: &[String],
    ) -> Result<(), Interrupted> {
        let tenant = self.fenced().await?;
        let kept = item::kept(&tenant, self.cycle.mailbox.id, &self.folder, item_ids).await?;
        tenant.commit().await?;
        let numbers: Vec<u32> =
            kept.iter().filter_map(|index| listed.get(*index)).map(|listed| listed.number).collect();
        let refused = session.dele_many(&numbers).await?;
        if !refused.is_empty() {
            tracing::warn!(
                messages = refused.len(),
                "the server would not delete what is recorded; asked again next time"
            );
        }
        Ok(())
    }
}

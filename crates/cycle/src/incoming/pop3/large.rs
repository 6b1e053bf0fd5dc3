//! A message that is too large to be held in memory, or over which processes died, on its way from a POP3 server.

use mail::error::Kind;
use mail::pop3::Session;
use store::incoming::IncomingItem;

use super::super::intake::Flow;
use super::super::spool::{Spool, Spooled};
use super::batch::Stopped;
use super::{New, Reading};
use crate::ending::Interrupted;

/// Fetches, stores, judges and commits one large message, with the decisions that were made before it.
pub(super) async fn record(
    reading: &mut Reading<'_>,
    session: &mut Session,
    new: &New,
    mut items: Vec<IncomingItem>,
) -> Result<Flow, Interrupted> {
    reading.retrieved = reading.retrieved.saturating_add(1);
    let spooled = match spool(session, new, reading.intake.cycle.mailbox.max_message_bytes).await {
        Ok(spooled) => spooled,
        Err(Interrupted::Mail(error)) => return unread(reading, session, new, items, error).await,
        Err(interrupted) => return Err(interrupted),
    };
    let read = spooled.read(&new.item_id, new.listed.size, None);
    let tenant = reading.intake.fenced().await?;
    let judged = reading.intake.judged(&tenant, vec![read]).await?;
    spooled.store(&tenant, &judged).await?;
    items.extend(judged);
    reading.commit(tenant, items).await?;
    Ok(Flow::GoOn)
}

/// Keeps a message over which processes died: stored as it is, looked into by nobody, with an alert. No policy is asked
/// about it, because that would mean to read it, and what cannot be judged is not lost.
pub(super) async fn keep_raw(
    reading: &mut Reading<'_>,
    session: &mut Session,
    new: &New,
) -> Result<Flow, Interrupted> {
    reading.retrieved = reading.retrieved.saturating_add(1);
    let spooled = match spool(session, new, reading.intake.cycle.mailbox.max_message_bytes).await {
        Ok(spooled) => spooled,
        Err(Interrupted::Mail(error)) => return unread(reading, session, new, Vec::new(), error).await,
        Err(interrupted) => return Err(interrupted),
    };
    let item = spooled.unread(&new.item_id, new.listed.size);
    tracing::error!(item.deaths = new.deaths, "processes died over a message: it is kept as it is");
    let tenant = reading.intake.fenced().await?;
    spooled.store(&tenant, std::slice::from_ref(&item)).await?;
    reading.commit(tenant, vec![item]).await?;
    Ok(Flow::GoOn)
}

/// Commits that the message could not be fetched: its own failure, and no other message's.
async fn unread(
    reading: &mut Reading<'_>,
    session: &Session,
    new: &New,
    mut items: Vec<IncomingItem>,
    error: mail::Error,
) -> Result<Flow, Interrupted> {
    let too_large = matches!(error.kind(), Kind::TooLarge(_));
    let stopped = match (session.is_usable(), too_large) {
        (true, _) => None,
        (false, true) => Some(Stopped::Enough),
        (false, false) => Some(Stopped::Broke(error.clone())),
    };
    items.push(if too_large {
        new.too_large()
    } else if stopped.is_none() {
        new.failed(format!("the server would not give it: {error}"))
    } else {
        new.failed(format!("the connection ended over it: {error}"))
    });
    let tenant = reading.intake.fenced().await?;
    reading.commit(tenant, items).await?;
    reading.after(stopped)
}

/// Reads the message from the server at the server's pace, with no transaction open.
async fn spool(session: &mut Session, new: &New, max_bytes: u64) -> Result<Spooled, Interrupted> {
    let mut spool = Spool::new()?;
    let mut body = session.retrieve(new.listed.number, max_bytes).await?;
    while let Some(chunk) = body.chunk().await? {
        spool.push(&chunk).await?;
    }
    spool.finish().await
}

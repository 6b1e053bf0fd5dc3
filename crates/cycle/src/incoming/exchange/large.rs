//! A message that is too large to be held in memory, or over which processes died, on its way from an Exchange server.

use mail::error::Kind;
use mail::ews::{self, Session};
use serde_json::Value;
use store::incoming::IncomingItem;
use store::item;

use super::super::intake::{self, Flow};
use super::super::spool::{Spool, Spooled};
use super::{New, Reading};
use crate::ending::Interrupted;

/// What is done with a message once it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Its beginning is read, and judged.
    Read,
    /// Processes died over it: it is kept as it is, with an alert, and nobody looks into it.
    AsItIs,
}

/// Fetches, stores and commits one such message, with the decisions that were made before it.
pub(super) async fn take(
    reading: &mut Reading<'_>,
    session: &mut Session,
    new: &New,
    how: How,
    mut items: Vec<IncomingItem>,
    cursor: Option<Value>,
) -> Result<Flow, Interrupted> {
    let spooled = match spool(session, new, reading.intake.cycle.mailbox.max_message_bytes).await {
        Ok(spooled) => spooled,
        Err(Interrupted::Mail(error)) => return unread(reading, session, new, items, cursor, error).await,
        Err(interrupted) => return Err(interrupted),
    };
    reading.gives = true;
    let tenant = reading.intake.fenced().await?;
    let judged = match how {
        How::Read => {
            let read = spooled.read(&new.id.id, new.size, new.received_at);
            reading.intake.judged(&tenant, vec![read]).await?
        }
        How::AsItIs => {
            tracing::error!(item.deaths = new.deaths, "processes died over a message: it is kept as it is");
            vec![spooled.unread(&new.id.id, new.size)]
        }
    };
    spooled.store(&tenant, &judged).await?;
    items.extend(judged);
    reading.intake.commit(tenant, items, cursor).await?;
    Ok(Flow::GoOn)
}

/// Commits that the message could not be fetched: its own failure, and no other message's.
async fn unread(
    reading: &mut Reading<'_>,
    session: &Session,
    new: &New,
    mut items: Vec<IncomingItem>,
    cursor: Option<Value>,
    error: mail::Error,
) -> Result<Flow, Interrupted> {
    let usable = session.is_usable();
    let mut left = Vec::new();
    match error.kind() {
        Kind::NotFound => left.push(new.id.id.clone()),
        Kind::TooLarge(_) => items.push(intake::too_large(&new.id.id, new.size)),
        _ if ews::is_about_the_mailbox(&error) => return Err(error.into()),
        _ if usable => {
            let why = format!("the server would not give it: {error}");
            items.push(intake::failed(&new.id.id, new.size, why));
        }
        Kind::Closed | Kind::TimedOut | Kind::Violation(_) => {
            let why = format!("the connection ended over it: {error}");
            items.push(intake::failed(&new.id.id, new.size, why));
        }
        // The server wants to be left alone: no message is to blame.
        _ => return Err(error.into()),
    }
    let tenant = reading.intake.fenced().await?;
    item::left(&tenant, reading.intake.cycle.mailbox.id, &reading.intake.folder, &left).await?;
    reading.intake.commit(tenant, items, cursor.filter(|_| usable)).await?;
    if usable {
        return Ok(Flow::GoOn);
    }
    if reading.intake.decided <= 1 && !matches!(error.kind(), Kind::TooLarge(_)) {
        return Err(error.into());
    }
    Ok(Flow::Stop)
}

/// Reads the message from the server at the server's pace, with no transaction open.
async fn spool(session: &mut Session, new: &New, max_bytes: u64) -> Result<Spooled, Interrupted> {
    let mut spool = Spool::new()?;
    let mut body = session.get_item(&new.id, max_bytes).await?;
    while let Some(chunk) = body.chunk().await? {
        spool.push(&chunk).await?;
    }
    drop(body);
    session.settle();
    spool.finish().await
}

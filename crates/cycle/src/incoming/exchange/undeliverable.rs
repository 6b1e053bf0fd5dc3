//! What was given up goes to the folder that the profile names for it, where it names one. The decision is committed by then; an
//! item that cannot be moved counts for itself and never fails a cycle.

use mail::error::Kind;
use mail::ews::{FolderId, FolderRef, ItemId, Session};
use store::item;

use super::super::intake::Flow;
use super::Reading;
use crate::ending::Interrupted;

/// Items that one cycle moves at most.
const MOST: u32 = 50;

impl Reading<'_> {
    /// Moves what was given up and still lies where it was.
    pub(super) async fn put_away(&mut self, session: &mut Session) -> Result<Flow, Interrupted> {
        let mailbox = &self.intake.cycle.mailbox;
        let Some(name) = &mailbox.server.undeliverable_folder else { return Ok(Flow::GoOn) };
        let tenant = self.intake.fenced().await?;
        let due = item::to_put_away(&tenant, mailbox.id, &mailbox.within(), MOST).await?;
        tenant.commit().await?;
        if due.is_empty() {
            return Ok(Flow::GoOn);
        }
        let to = folder(session, name).await;
        for (from, id) in due {
            let moved = match &to {
                Ok(to) => session.move_item(&ItemId::new(id.as_str()), to).await.map(drop),
                Err(error) => Err(error.clone()),
            };
            if let Err(error) = &moved
                && matches!(error.kind(), Kind::Throttled(_))
            {
                return Err(error.clone().into());
            }
            let tenant = self.intake.fenced().await?;
            match moved {
                Ok(()) => item::put_away(&tenant, mailbox.id, &from, &id).await?,
                // Somebody else moved or deleted it, or a cycle that died before it could write down that it had.
                Err(error) if error.code() == Some("ErrorItemNotFound") => {
                    item::put_away(&tenant, mailbox.id, &from, &id).await?;
                }
                Err(error) => {
                    tracing::info!("what could not be recorded could not be moved away: {error}");
                    item::not_put_away(&tenant, mailbox.id, &from, &id, &error.to_string()).await?;
                }
            }
            tenant.commit().await?;
            if !session.is_usable() {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::GoOn)
    }
}

/// The folder of this name at the top of the mailbox, made where there is none.
async fn folder(session: &mut Session, name: &str) -> Result<FolderRef, mail::Error> {
    let found: Option<FolderId> = session.find_folder(&FolderRef::Root, name).await?;
    let id = match found {
        Some(id) => id,
        None => session.create_folder(&FolderRef::Root, name).await?,
    };
    Ok(FolderRef::Id(id))
}

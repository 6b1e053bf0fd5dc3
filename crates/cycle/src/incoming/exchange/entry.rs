//! The way in: the first question of a session is the first page of changes, so that a poll that finds nothing is one request.

use mail::error::Kind;
use mail::ews::{FolderRef, ItemPage, Session};

use super::Reading;
use super::cursor::Cursor;
use crate::Mail;
use crate::access::Keeper;
use crate::ending::Interrupted;

/// Changes of one page at most (the `SyncFolderItems` operation takes no more).
const PAGE: u32 = 512;

/// An open session with the first page.
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) page: ItemPage,
}

impl Reading<'_> {
    /// Opens a session and asks for the first page. A token that is refused is renewed once: it may have been taken back
    /// before its end.
    pub(super) async fn enter(&mut self) -> Result<Entry, Interrupted> {
        let cycle = self.intake.cycle;
        let tenant = self.intake.fenced().await?;
        self.cursor = Cursor::read(self.intake.cursor(&tenant).await?.as_ref());
        tenant.commit().await?;
        let version = self.cursor.version.clone();
        let access = cycle.access(None).await?;
        let mut session = cycle.exchange(&access, version.as_deref()).await?;
        let page = match self.changes(&mut session).await {
            Err(Interrupted::Mail(error)) if Keeper::may_renew(&access, &error) => {
                let access = cycle.access(Some(&access)).await?;
                session.renew(access.proof());
                self.changes(&mut session).await?
            }
            page => page?,
        };
        self.cursor.version = session.version().map(|version| version.as_str().to_owned());
        Ok(Entry { session, page })
    }

    /// The next page. A state that the server does not know any more means to begin anew: what is known is known by its
    /// rows, and nothing is recorded twice.
    pub(super) async fn changes(&mut self, session: &mut Session) -> Result<ItemPage, Interrupted> {
        let most = self.intake.cycle.parts.mail.config().max_items;
        let most = most.saturating_sub(self.intake.used.items).clamp(1, PAGE);
        let most = u16::try_from(most).unwrap_or(1);
        let state = self.cursor.sync_state.clone();
        match session.sync_folder_items(&FolderRef::Inbox, state.as_deref(), most).await {
            Err(error) if *error.kind() == Kind::SyncStateInvalid && state.is_some() => {
                tracing::warn!(
                    "the server forgot how far its changes were read: all of the folder is compared again"
                );
                self.cursor.sync_state = None;
                Ok(session.sync_folder_items(&FolderRef::Inbox, None, most).await?)
            }
            Err(error) => Err(Mail::first_word(session, error).into()),
            Ok(page) => Ok(page),
        }
    }
}

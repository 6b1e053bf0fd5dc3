//! The way in: the first question of a session is the first page of changes, so that a poll that finds nothing is one request.

use std::collections::VecDeque;

use mail::error::Kind;
use mail::ews::{ItemPage, Session};
use store::folder::{self, ForCycle};

use super::Reading;
use super::cursor::Cursor;
use super::folders::Place;
use crate::Mail;
use crate::access::Keeper;
use crate::ending::Interrupted;

/// Changes of one page at most (the `SyncFolderItems` operation takes no more).
const PAGE: u32 = 512;

/// An open session with the first page of the inbox.
pub(super) struct Entry {
    pub(super) session: Session,
    pub(super) page: ItemPage,
    /// What is known of the folders.
    pub(super) folders: ForCycle,
    /// The inbox, and after it the others that are read.
    pub(super) turns: VecDeque<Place>,
}

impl Reading<'_> {
    /// Opens a session and asks for the first page. A token that is refused is renewed once: it may have been taken back
    /// before its end.
    pub(super) async fn enter(&mut self) -> Result<Entry, Interrupted> {
        let cycle = self.intake.cycle;
        let tenant = self.intake.fenced().await?;
        let (within, never) = (cycle.mailbox.within(), cycle.mailbox.server.undeliverable_folder.as_deref());
        let (cursor, folders) = tokio::join!(
            self.intake.cursor(&tenant),
            folder::for_cycle(&tenant, cycle.mailbox.id, &within, never)
        );
        self.cursor = Cursor::read(cursor?.as_ref());
        let mut folders = folders?;
        tenant.commit().await?;
        let mut turns = VecDeque::from([Place::Inbox]);
        let read = std::mem::take(&mut folders.read);
        self.add(&mut turns, read.into_iter().map(|(id, name)| Place::Other(id, name)).collect());
        self.intake.turn_to(self.name_of(&Place::Inbox), turns.len());
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
        Ok(Entry { session, page, folders, turns })
    }

    /// Adds folders that are read to those whose turn comes, each once. Another one comes first in each cycle: a slow one holds up
    /// no other for ever.
    pub(super) fn add(&mut self, turns: &mut VecDeque<Place>, places: Vec<Place>) {
        let mut new: Vec<Place> =
            places.into_iter().filter(|place| !self.listed.contains(&self.name_of(place))).collect();
        if self.listed.is_empty() {
            self.listed.push(self.name_of(&Place::Inbox));
        }
        let first = usize::try_from(self.intake.cycle.claimed.claim.number).unwrap_or(0);
        let places = new.len().max(1);
        new.rotate_left(first % places);
        let names: Vec<String> = new.iter().map(|place| self.name_of(place)).collect();
        self.listed.extend(names);
        turns.extend(new);
    }

    /// Turns to a folder and asks for its first page: one of so many that are still to come.
    pub(super) async fn turn_to(
        &mut self,
        session: &mut Session,
        place: &Place,
        parts: usize,
    ) -> Result<ItemPage, Interrupted> {
        self.intake.turn_to(self.name_of(place), parts);
        self.place = place.clone();
        let tenant = self.intake.fenced().await?;
        let version = self.cursor.version.take();
        let cursor = Cursor::read(self.intake.cursor(&tenant).await?.as_ref());
        tenant.commit().await?;
        self.cursor = Cursor { version, ..cursor };
        self.changes(session).await
    }

    /// The next page. A state that the server does not know any more means to begin anew: what is known is known by its
    /// rows, and nothing is recorded twice.
    pub(super) async fn changes(&mut self, session: &mut Session) -> Result<ItemPage, Interrupted> {
        let most = self.intake.caps.items.saturating_sub(self.intake.used.items).clamp(1, PAGE);
        let most = u16::try_from(most).unwrap_or(1);
        let (at, state) = (self.place.at(), self.cursor.sync_state.clone());
        match session.sync_folder_items(&at, state.as_deref(), most).await {
            Err(error) if *error.kind() == Kind::SyncStateInvalid && state.is_some() => {
                tracing::warn!(
                    "the server forgot how far its changes were read: all of the folder is compared again"
                );
                self.cursor.sync_state = None;
                Ok(session.sync_folder_items(&at, None, most).await?)
            }
            Err(error) => Err(Mail::first_word(session, error).into()),
            Ok(page) => Ok(page),
        }
    }
}

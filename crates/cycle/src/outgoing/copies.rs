//! Where the copy of what is sent lies at an Exchange server: in Sent Items, or, where an organization wants none kept, in a folder of
//! ours until the email is known to be sent. What a try left behind is removed here, and never before its end is committed.

use std::collections::HashMap;
use std::time::Duration;

use mail::error::Kind;
use mail::ews::{Deletion, FolderRef, Item, ItemId, Search, Session};
use model::email::Leftover;
use model::id::AttemptId;
use store::outgoing::{ASKED_FOR, Left, removed};
use store::{outgoing, schedule};

use super::exchange::send_id;
use super::found::WITHIN;
use crate::ending::Interrupted;
use crate::start::Cycle;

/// What the folder is called that copies lie in which are not to stay. Mail programs do not show it.
pub(super) const OURS: &str = "Lockstep mail on its way";

/// How many leftovers are removed in a cycle.
pub(super) const AT_ONCE: i64 = 500;

/// For how long a mailbox is woken to remove what could not be removed.
pub(super) const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// The folder of ours at a server.
enum Ours {
    NotAsked,
    Missing,
    There(FolderRef),
}

/// A session at an Exchange server, and what it knows of where things lie there.
pub(super) struct Station {
    pub(super) session: Session,
    /// Where copies go.
    pub(super) copies: FolderRef,
    /// The folder of ours, once it was asked for.
    ours: Ours,
    /// Copies that are to be removed, where they are known already.
    known: HashMap<AttemptId, ItemId>,
}

impl Station {
    /// Makes the folder of ours where copies are not to stay: without it nothing is sent, as nobody could know what became of it.
    pub(super) async fn open(mut session: Session, save_sent_items: bool) -> Result<Self, mail::Error> {
        if save_sent_items {
            return Ok(Self {
                session,
                copies: FolderRef::SentItems,
                ours: Ours::NotAsked,
                known: HashMap::new(),
            });
        }
        let id = match session.find_folder(&FolderRef::Root, OURS).await? {
            Some(id) => id,
            None => session.create_hidden_folder(&FolderRef::Root, OURS).await?,
        };
        let copies = FolderRef::Id(id);
        Ok(Self { session, ours: Ours::There(copies.clone()), copies, known: HashMap::new() })
    }

    /// Whether copies are to be removed once what they are of is known to be sent.
    pub(super) fn removes_copies(&self) -> bool {
        self.copies != FolderRef::SentItems
    }

    /// Remembers where the copy of a try lies that is to be removed.
    pub(super) fn knows(&mut self, attempt: AttemptId, copy: ItemId) {
        self.known.insert(attempt, copy);
    }

    /// The folder of ours, if there is one.
    async fn ours(&mut self) -> Result<Option<FolderRef>, mail::Error> {
        if matches!(self.ours, Ours::NotAsked) {
            let found = self.session.find_folder(&FolderRef::Root, OURS).await?;
            self.ours = found.map_or(Ours::Missing, |id| Ours::There(FolderRef::Id(id)));
        }
        Ok(match &self.ours {
            Ours::There(folder) => Some(folder.clone()),
            Ours::NotAsked | Ours::Missing => None,
        })
    }

    /// What lies in a folder under the name of a try.
    pub(super) async fn first(
        &mut self,
        folder: &FolderRef,
        attempt: AttemptId,
    ) -> Result<Option<Item>, mail::Error> {
        let search = Search::SendId(send_id(attempt));
        Ok(self.session.find_items(folder, &search, 0, 1).await?.items.into_iter().next())
    }

    /// The same in the folder of ours.
    pub(super) async fn first_of_ours(&mut self, attempt: AttemptId) -> Result<Option<Item>, mail::Error> {
        match self.ours().await? {
            Some(folder) => self.first(&folder, attempt).await,
            None => Ok(None),
        }
    }

    /// Removes what a try left; false when it is not there, or not yet.
    async fn remove(&mut self, left: &Left) -> Result<bool, mail::Error> {
        let id = match (self.known.remove(&left.attempt), left.what) {
            (Some(id), _) => id,
            (None, what) => {
                let mut found = self.first(&FolderRef::Drafts, left.attempt).await?;
                if found.is_none() && what == Leftover::Copy {
                    found = self.first_of_ours(left.attempt).await?;
                }
                let Some(item) = found else { return Ok(false) };
                item.id
            }
        };
        match self.session.delete_item(&id, Deletion::Hard).await {
            Err(error) if *error.kind() != Kind::NotFound => Err(error),
            _ => Ok(true),
        }
    }
}

/// How late something may appear at the server after the end of its try.
fn appears_within(what: Leftover) -> Duration {
    match what {
        Leftover::Draft => ASKED_FOR,
        Leftover::Copy => WITHIN,
    }
}

/// Removes what ended tries left at the server. What cannot be removed now is removed later: it is no failure of the mail that was
/// sent; only a pause that the server asks for is told on.
pub(super) async fn remove_leftovers(cycle: &Cycle, station: &mut Station) -> Result<(), Interrupted> {
    let store = &cycle.parts.store;
    let mailbox = cycle.mailbox.id;
    let left = store
        .in_tenant(cycle.organization, async |tenant| outgoing::left(tenant, mailbox, AT_ONCE).await)
        .await?;
    let (mut gone, mut paused) = (Vec::new(), None);
    for left in left {
        match station.remove(&left).await {
            // What the server was still at when it was asked appears a little later.
            Ok(there) if there || left.since > appears_within(left.what) => gone.push(left.attempt),
            Ok(_) => {}
            Err(error) => {
                tracing::info!("what a try left at the server stays for now: {error}");
                paused = Some(error).filter(|error| matches!(error.kind(), Kind::Throttled(_)));
                break;
            }
        }
    }
    if !gone.is_empty() {
        let tenant = store.tenant(cycle.organization).await?;
        schedule::fence(&tenant, cycle.claimed.claim).await?;
        removed(&tenant, &gone).await?;
        tenant.commit().await?;
    }
    paused.map_or(Ok(()), |error| Err(Interrupted::Mail(error)))
}

//! The folders beside the inbox: which there are, asked for once in an hour, and which of them are read. A folder that cannot be
//! read is told of and holds up no other.

use mail::error::{Kind, Phase};
use mail::ews::{self, FolderChange, FolderId, FolderRef, HierarchyPage, Session};
use model::alert::AlertKind;
use model::folder::{DELETED_ITEMS, Folder, INBOX, Problem};
use model::id::MailFolderId;
use serde_json::json;
use store::alert::Subject;
use store::folder::{self, ForCycle, Hierarchy, Listed};
use store::{Tenant, alert};

use super::Reading;
use crate::ending::Interrupted;

/// Pages of a listing at most: a server may say for ever that there is more.
const PAGES: usize = 100;

/// A folder whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Inbox,
    /// Our id of it, and the server's.
    Other(MailFolderId, String),
}

impl Place {
    pub(super) fn at(&self) -> FolderRef {
        match self {
            Self::Inbox => FolderRef::Inbox,
            Self::Other(_, id) => FolderRef::Id(FolderId::new(id.as_str())),
        }
    }

    /// Why the folder is not read, where this is what the server means. The inbox is the mailbox: without it nothing works.
    pub(super) fn problem(&self, why: &Interrupted) -> Option<(MailFolderId, Problem)> {
        let (Self::Other(id, _), Interrupted::Mail(error)) = (self, why) else { return None };
        let problem = match (error.phase(), error.kind()) {
            (Phase::List, Kind::NotFound) => Problem::Deleted,
            (Phase::List, Kind::AccessDenied | Kind::PermanentlyRefused) => Problem::Refused,
            _ => return None,
        };
        Some((*id, problem))
    }
}

/// What a listing of folders came to.
pub(super) enum Asked {
    /// What is read beside the inbox from now on.
    Read(Vec<Place>),
    /// They could not be listed, and the session is as it was.
    Unknown,
    /// They could not be listed, and the session cannot be used any more.
    Broken,
}

impl Reading<'_> {
    /// What items and cursors of a folder are kept under.
    pub(super) fn name_of(&self, place: &Place) -> String {
        let mailbox = &self.intake.cycle.mailbox;
        match place {
            Place::Inbox => mailbox.incoming_folder(),
            Place::Other(id, _) => format!("{}{id}", mailbox.within()),
        }
    }

    /// Asks which folders there are and finds those that were chosen. What comes of it never fails a cycle; a pause that the server
    /// asks for ends it as always.
    pub(super) async fn list_folders(
        &mut self,
        session: &mut Session,
        known: &ForCycle,
    ) -> Result<Asked, Interrupted> {
        let listed = match listed(session, known.sync_state.as_deref()).await {
            Err(error) if *error.kind() == Kind::SyncStateInvalid && known.sync_state.is_some() => {
                listed(session, None).await
            }
            listed => listed,
        };
        let (mailbox, within) = (self.intake.cycle.mailbox.id, self.intake.cycle.mailbox.within());
        let tenant = self.intake.fenced().await?;
        let Changes { sync_state, whole, there, gone } = match listed {
            Ok(changes) => changes,
            Err(error) => {
                folder::could_not_list(&tenant, mailbox, &within).await?;
                tenant.commit().await?;
                tracing::info!("the folders of the mailbox could not be listed: {error}");
                return match error.kind() {
                    Kind::Throttled(_) => Err(error.into()),
                    _ if session.is_usable() => Ok(Asked::Unknown),
                    _ => Ok(Asked::Broken),
                };
            }
        };
        let said = Hierarchy { of_mailbox: &within, sync_state: &sync_state, whole, there, gone };
        for chosen in folder::keep(&tenant, mailbox, said).await? {
            if let Some(problem) = chosen.problem {
                self.not_read(&tenant, &chosen.path, problem).await?;
            } else {
                let (kind, subject) = (AlertKind::FolderNotRead, Subject::Mailbox(mailbox));
                alert::resolve(&tenant, &[kind], subject, Some(&chosen.path)).await?;
            }
        }
        let never = self.intake.cycle.mailbox.server.undeliverable_folder.as_deref();
        let read = folder::for_cycle(&tenant, mailbox, &within, never).await?.read;
        tenant.commit().await?;
        Ok(Asked::Read(read.into_iter().map(|(id, provider_id)| Place::Other(id, provider_id)).collect()))
    }

    /// A folder is read no longer, by the server's word.
    pub(super) async fn lost(&self, id: MailFolderId, problem: Problem) -> Result<(), Interrupted> {
        let (mailbox, within) = (self.intake.cycle.mailbox.id, self.intake.cycle.mailbox.within());
        let tenant = self.intake.fenced().await?;
        for path in folder::lost(&tenant, mailbox, &within, id, problem).await? {
            self.not_read(&tenant, &path, problem).await?;
        }
        Ok(tenant.commit().await?)
    }

    async fn not_read(&self, tenant: &Tenant, path: &str, problem: Problem) -> Result<(), Interrupted> {
        let parameters = json!({"folder": path, "reason": problem.words()});
        self.intake.warn_of(tenant, AlertKind::FolderNotRead, path, parameters).await
    }
}

/// What a server said of its folders, all pages together.
struct Changes {
    sync_state: String,
    whole: bool,
    there: Vec<Listed>,
    gone: Vec<String>,
}

async fn listed(session: &mut Session, since: Option<&str>) -> Result<Changes, mail::Error> {
    let mut state = since.map(str::to_owned);
    let (mut there, mut gone) = (Vec::<Listed>::new(), Vec::new());
    for _ in 0..PAGES {
        let HierarchyPage { state: next, last, changes } =
            session.sync_folder_hierarchy(state.as_deref()).await?;
        for change in changes {
            match change {
                FolderChange::Kept(folder) => there.push(of(folder)),
                FolderChange::Deleted(id) => {
                    there.retain(|listed| listed.folder.id != id.id);
                    gone.push(id.id);
                }
            }
        }
        let over = last || state.as_ref() == Some(&next);
        state = Some(next);
        if over {
            break;
        }
    }
    // Who does not say what the server's own folders are for is asked for the two that matter.
    if since.is_none() && there.iter().all(|listed| listed.folder.role.is_none()) {
        for (at, role) in [(FolderRef::Inbox, INBOX), (FolderRef::DeletedItems, DELETED_ITEMS)] {
            let id = session.get_folder(&at).await?.id.id;
            for listed in there.iter_mut().filter(|listed| listed.folder.id == id) {
                listed.folder.role = Some(role.to_owned());
            }
        }
    }
    Ok(Changes { sync_state: state.unwrap_or_default(), whole: since.is_none(), there, gone })
}

fn of(said: ews::Folder) -> Listed {
    let ews::Folder { id, parent, name, class, role, .. } = said;
    Listed { folder: Folder { id: id.id, parent: parent.map(|parent| parent.id), name, role }, class }
}

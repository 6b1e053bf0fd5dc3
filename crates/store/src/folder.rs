//! Folders of Exchange mailboxes: which there are, as they were listed last, and which are read beside the inbox. A folder that
//! was found once stays the same whatever it is called; nothing here asks a server.

mod choice;
mod keep;

use model::folder::{Folder, Folders, Problem};
use model::id::{MailFolderId, MailboxId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::row::named_if;
use crate::{Result, Tenant};

pub use choice::choose;
pub use keep::{Hierarchy, Listed, could_not_list, keep, lost};

/// A folder of the mailbox, as it was listed last.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Ours: what items and cursors of it are kept under.
    pub id: MailFolderId,
    /// As the server says.
    pub folder: Folder,
    /// What is meant to be in it, such as `IPF.Note`.
    pub class: Option<String>,
}

/// A folder that is read beside the inbox, or is meant to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// As a person named it.
    pub path: String,
    /// The folder that it was found to be.
    pub folder: Option<MailFolderId>,
    /// Why it is not read.
    pub problem: Option<Problem>,
}

/// What a cycle must know of folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForCycle {
    /// The server's own word for how far the folders were read.
    pub sync_state: Option<String>,
    /// They were read so long ago, or so much has been chosen since, that they are to be read again.
    pub is_due: bool,
    /// What is read beside the inbox, in the order that it was chosen in: our id and the server's.
    pub read: Vec<(MailFolderId, String)>,
}

/// How old what is known of the folders may become.
const HOURS: i32 = 1;

/// What a cycle of the mailbox must know; `of_mailbox` is which mailbox on the server it is now, and `never` the folder at its top
/// that is not read whoever chose it.
pub async fn for_cycle(
    tenant: &Tenant,
    mailbox: MailboxId,
    of_mailbox: &str,
    never: Option<&str>,
) -> Result<ForCycle> {
    let rows = tenant
        .query(
            "select h.sync_state, coalesce(h.tried_at < now() - make_interval(hours => $3), true) as is_due, r.id, r.provider_id
             from (select) one
             left join mailbox_hierarchies h on h.mailbox_id = $1 and h.of_mailbox = $2
             left join lateral (
                 select f.id, f.provider_id, r.place from read_folders r
                 join mailbox_folders f on f.organization_id = r.organization_id and f.mailbox_id = r.mailbox_id
                                       and f.id = r.folder_id
                 where r.mailbox_id = h.mailbox_id and r.problem is null and f.gone_at is null
                   and f.role is distinct from 'inbox'
                   and (lower(f.name) is distinct from lower($4) or exists (
                        select from mailbox_folders p where p.organization_id = f.organization_id
                           and p.mailbox_id = f.mailbox_id and p.provider_id = f.parent_provider_id))) r on true
             order by r.place",
            &[&mailbox.0, &of_mailbox, &HOURS, &never],
        )
        .await?;
    let mut found = ForCycle::default();
    for row in &rows {
        found.sync_state = row.try_get("sync_state")?;
        found.is_due = row.try_get("is_due")?;
        if let Some(id) = row.try_get::<_, Option<Uuid>>("id")? {
            found.read.push((MailFolderId(id), row.try_get("provider_id")?));
        }
    }
    Ok(found)
}

/// The folders that are there, in no order, and when they were listed.
pub async fn list(tenant: &Tenant, mailbox: MailboxId) -> Result<Vec<Kept>> {
    let rows = tenant
        .query(
            "select id, provider_id, parent_provider_id, name, class, role from mailbox_folders
             where mailbox_id = $1 and gone_at is null",
            &[&mailbox.0],
        )
        .await?;
    rows.iter().map(kept).collect()
}

/// What is read beside the inbox or is meant to be, in the order that it was chosen in.
pub async fn chosen(tenant: &Tenant, mailbox: MailboxId) -> Result<Vec<Chosen>> {
    let rows = tenant
        .query(
            "select path, folder_id, problem from read_folders where mailbox_id = $1 order by place, path",
            &[&mailbox.0],
        )
        .await?;
    let chosen = rows.iter().map(|row| {
        Ok(Chosen {
            path: row.try_get("path")?,
            folder: row.try_get::<_, Option<Uuid>>("folder_id")?.map(MailFolderId),
            problem: named_if(row, "problem")?,
        })
    });
    chosen.collect()
}

/// When the folders were listed last; none when they never were.
pub async fn listed_at(tenant: &Tenant, mailbox: MailboxId) -> Result<Option<jiff::Timestamp>> {
    let row = tenant
        .query_opt("select read_at from mailbox_hierarchies where mailbox_id = $1", &[&mailbox.0])
        .await?;
    Ok(row.map(|row| row.try_get("read_at")).transpose()?.flatten())
}

fn kept(row: &Row) -> Result<Kept> {
    Ok(Kept {
        id: MailFolderId(row.try_get("id")?),
        folder: Folder {
            id: row.try_get("provider_id")?,
            parent: row.try_get("parent_provider_id")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
        },
        class: row.try_get("class")?,
    })
}

/// Which of the folders a choice means now: the one that it was before, while that is there, else the one of its path.
fn meant<'a>(
    chosen: &Chosen,
    kept: &'a [Kept],
    folders: &Folders<'_>,
) -> std::result::Result<&'a Kept, Problem> {
    let by_id = |id: &str| kept.iter().find(|kept| kept.folder.id == id);
    let there = |kept: &&Kept| !folders.is_thrown_away(&kept.folder);
    let before = kept.iter().find(|kept| Some(kept.id) == chosen.folder).filter(there);
    let named = || folders.find(&chosen.path).and_then(|folder| by_id(&folder.id)).filter(there);
    before.or_else(named).ok_or(if chosen.folder.is_some() { Problem::Deleted } else { Problem::NotFound })
}

//! What a server said of its folders, written down; and what that means for those that are read.

use model::folder::{Folder, Folders, Problem};
use model::id::{MailFolderId, MailboxId};
use uuid::Uuid;

use super::{Chosen, Kept, chosen, list, meant};
use crate::{Result, Tenant};

/// Folders of a mailbox at most.
const MOST: usize = 10_000;
/// Characters of a server's name for a folder at most: a longer one fits into no index.
const LONGEST_ID: usize = 1_000;
/// Characters of a folder's name that are kept.
const LONGEST_NAME: usize = 256;

/// A folder that a server lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As the server says.
    pub folder: Folder,
    /// What is meant to be in it.
    pub class: Option<String>,
}

/// What a server says of its folders.
#[derive(Clone, Debug)]
pub struct Hierarchy<'a> {
    /// Which mailbox on the server.
    pub of_mailbox: &'a str,
    /// The server's own word for how far they were read.
    pub sync_state: &'a str,
    /// All of them; else what changed since the state before.
    pub whole: bool,
    /// Those that are there.
    pub there: Vec<Listed>,
    /// Those that are there no more, by the server's names.
    pub gone: Vec<String>,
}

/// Writes down what a server said of its folders, and finds those that were chosen anew. Gives the choices as they stand.
pub async fn keep(tenant: &Tenant, mailbox: MailboxId, said: Hierarchy<'_>) -> Result<Vec<Chosen>> {
    let row = tenant
        .query_one(
            "insert into mailbox_hierarchies as h (organization_id, mailbox_id, of_mailbox, sync_state, read_at, tried_at)
             values (current_organization(), $1, $2, $3, now(), now())
             on conflict (organization_id, mailbox_id) do update set of_mailbox = excluded.of_mailbox,
                 sync_state = excluded.sync_state, read_at = now(), tried_at = now()
             returning (select b.of_mailbox from mailbox_hierarchies b where b.mailbox_id = $1) as before",
            &[&mailbox.0, &said.of_mailbox, &said.sync_state],
        )
        .await?;
    let before: Option<String> = row.try_get("before")?;
    if before.is_some_and(|before| before != said.of_mailbox) {
        tenant.execute("delete from mailbox_folders where mailbox_id = $1", &[&mailbox.0]).await?;
    }
    let there: Vec<&Listed> =
        said.there.iter().filter(|listed| listed.folder.id.len() <= LONGEST_ID).take(MOST).collect();
    let ids: Vec<Uuid> = there.iter().map(|_| model::clock::new_id()).collect();
    let names: Vec<String> =
        there.iter().map(|listed| listed.folder.name.chars().take(LONGEST_NAME).collect()).collect();
    let provider_ids: Vec<&str> = there.iter().map(|listed| listed.folder.id.as_str()).collect();
    let parents: Vec<Option<&str>> = there.iter().map(|listed| listed.folder.parent.as_deref()).collect();
    let classes: Vec<Option<&str>> = there.iter().map(|listed| listed.class.as_deref()).collect();
    let roles: Vec<Option<&str>> = there.iter().map(|listed| listed.folder.role.as_deref()).collect();
    tenant
        .execute(
            "insert into mailbox_folders as f (organization_id, mailbox_id, id, provider_id, parent_provider_id, name, class, role)
             select distinct on (provider_id) current_organization(), $1::uuid, id, provider_id, parent, name, class, role
             from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) with ordinality
                  as u(id, provider_id, parent, name, class, role, place)
             order by provider_id, place desc
             on conflict (organization_id, mailbox_id, provider_id) do update set
                 parent_provider_id = excluded.parent_provider_id, name = excluded.name, class = excluded.class,
                 role = coalesce(excluded.role, f.role), gone_at = null",
            &[&mailbox.0, &ids, &provider_ids, &parents, &names, &classes, &roles],
        )
        .await?;
    tenant
        .execute(
            "update mailbox_folders set gone_at = now()
             where mailbox_id = $1 and gone_at is null
               and (provider_id = any($2) or ($3 and not (provider_id in (select unnest($4::text[])))))",
            &[&mailbox.0, &said.gone, &said.whole, &provider_ids],
        )
        .await?;
    items_went(tenant, mailbox, said.of_mailbox).await?;
    find_again(tenant, mailbox).await
}

/// What was in a folder that is there no more left it with that.
async fn items_went(tenant: &Tenant, mailbox: MailboxId, of_mailbox: &str) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items i set gone_at = now() from mailbox_folders f
             where f.mailbox_id = $1 and f.gone_at is not null and i.mailbox_id = $1 and i.folder = $2 || f.id
               and i.gone_at is null",
            &[&mailbox.0, &of_mailbox],
        )
        .await?;
    Ok(())
}

/// Finds the folders that were chosen among those that are there.
async fn find_again(tenant: &Tenant, mailbox: MailboxId) -> Result<Vec<Chosen>> {
    let before = chosen(tenant, mailbox).await?;
    if before.is_empty() {
        return Ok(before);
    }
    let kept: Vec<Kept> = list(tenant, mailbox).await?;
    let all: Vec<Folder> = kept.iter().map(|kept| kept.folder.clone()).collect();
    let folders = Folders::new(&all);
    let mut after = Vec::with_capacity(before.len());
    for old in before {
        let found = match meant(&old, &kept, &folders) {
            Ok(folder) => Chosen { path: old.path.clone(), folder: Some(folder.id), problem: None },
            Err(problem) => Chosen { problem: Some(problem), ..old.clone() },
        };
        if found != old {
            tenant
                .execute(
                    "update read_folders set folder_id = $3, problem = $4 where mailbox_id = $1 and path = $2",
                    &[&mailbox.0, &found.path, &found.folder.map(|id| id.0), &found.problem.map(Problem::as_str)],
                )
                .await?;
        }
        after.push(found);
    }
    Ok(after)
}

/// The folders could not be listed: that is not tried again with each poll.
pub async fn could_not_list(tenant: &Tenant, mailbox: MailboxId, of_mailbox: &str) -> Result<()> {
    tenant
        .execute(
            "insert into mailbox_hierarchies (organization_id, mailbox_id, of_mailbox)
             values (current_organization(), $1, $2)
             on conflict (organization_id, mailbox_id) do update set tried_at = now()",
            &[&mailbox.0, &of_mailbox],
        )
        .await?;
    Ok(())
}

/// A folder that is read is so no longer, by the server's word. It is looked for again when the folders are listed next. Gives
/// the paths that named it.
pub async fn lost(
    tenant: &Tenant,
    mailbox: MailboxId,
    of_mailbox: &str,
    folder: MailFolderId,
    problem: Problem,
) -> Result<Vec<String>> {
    let rows = tenant
        .query(
            "update read_folders set problem = $3 where mailbox_id = $1 and folder_id = $2 and problem is null returning path",
            &[&mailbox.0, &folder.0, &problem.as_str()],
        )
        .await?;
    if problem == Problem::Deleted {
        tenant
            .execute(
                "update mailbox_folders set gone_at = now() where mailbox_id = $1 and id = $2 and gone_at is null",
                &[&mailbox.0, &folder.0],
            )
            .await?;
        items_went(tenant, mailbox, of_mailbox).await?;
    }
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

//! Which folders of a mailbox are read beside the inbox: chosen by people, by path.

use model::alert::AlertKind;
use model::id::MailboxId;

use super::chosen;
use crate::alert::{self, Subject};
use crate::change::{self, Author, Change, Fields};
use crate::mailbox;
use crate::refusal::{Refusal, check_line};
use crate::{Result, Tenant, profile};

/// Folders at most: each is asked for with each poll.
const MOST: usize = 20;

/// Chooses the folders that are read beside the inbox, in this order; none: the inbox alone. `expected` is the version of the
/// mailbox that the caller read. They are looked for by the next incoming cycle, and one that was chosen before stays the
/// folder that it was found to be.
pub async fn choose(
    tenant: &Tenant,
    id: MailboxId,
    expected: Option<i64>,
    paths: &[String],
    by: &Author,
) -> Result<()> {
    let mailbox = mailbox::locked(tenant, id, expected).await?;
    let unknown = || Refusal::Unknown { what: "mailbox", field: "mailbox" };
    let profile = profile::get(tenant, mailbox.profile).await?.ok_or_else(unknown)?;
    if profile.fields.exchange.is_none() && !paths.is_empty() {
        return Err(Refusal::invalid(
            "read",
            "a POP3 mailbox has no folders but its inbox",
            "leave `read` empty, or move the mailbox to a profile of the kind `exchange_ews` first",
        )
        .into());
    }
    let mut wanted: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths {
        let path = path.trim().trim_matches('/');
        check_line("read", path, 1, 1000)?;
        let is_new = wanted.iter().all(|other| other.to_lowercase() != path.to_lowercase());
        // The inbox is read in any case.
        if is_new && !path.eq_ignore_ascii_case(model::folder::INBOX) {
            wanted.push(path.to_owned());
        }
    }
    if wanted.len() > MOST {
        return Err(Refusal::invalid(
            "read",
            format!("`read` names {} folders", wanted.len()),
            format!("name {MOST} at most: each of them is asked for with each poll"),
        )
        .into());
    }
    let before: Vec<String> = chosen(tenant, id).await?.into_iter().map(|chosen| chosen.path).collect();
    if before == wanted {
        return Ok(());
    }
    tenant
        .execute("delete from read_folders where mailbox_id = $1 and path <> all($2)", &[&id.0, &wanted])
        .await?;
    tenant
        .execute(
            "insert into read_folders (organization_id, mailbox_id, path, place)
             select current_organization(), $1::uuid, path, place
             from unnest($2::text[]) with ordinality as u(path, place)
             on conflict (organization_id, mailbox_id, path) do update set place = excluded.place",
            &[&id.0, &wanted],
        )
        .await?;
    tenant
        .execute("update mailbox_hierarchies set tried_at = '-infinity' where mailbox_id = $1", &[&id.0])
        .await?;
    for path in before.iter().filter(|path| !wanted.contains(path)) {
        alert::resolve(tenant, &[AlertKind::FolderNotRead], Subject::Mailbox(id), Some(path)).await?;
    }
    let version = mailbox::touch(tenant, id).await?;
    let fields = Fields::new().changed("folders", &before, &wanted);
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await
}

//! Removing a mailbox: its settings, secret, schedule and decisions go, what it received and sent stays with its owners.

use model::id::MailboxId;

use super::{Mailbox, get, locked, unknown};
use crate::change::Author;
use crate::deletion::{Deletion, Removed, bury, part};
use crate::{Result, Tenant, outgoing, schedule};

/// What removing a mailbox would do.
pub async fn deletion(tenant: &Tenant, id: MailboxId) -> Result<Deletion> {
    let mailbox = get(tenant, id).await?.ok_or_else(unknown)?;
    described(tenant, &mailbox).await
}

async fn described(tenant: &Tenant, mailbox: &Mailbox) -> Result<Deletion> {
    let id = mailbox.id.0;
    let goes = vec![
        part(
            tenant,
            id,
            ("credentials", "its secret is forgotten"),
            "select count(*) from credentials where mailbox_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("running cycles", "they stop at their next commit"),
            "select count(*) from schedules where mailbox_id = $1 and state = 'running'",
        )
        .await?,
        part(
            tenant,
            id,
            ("pending sends", "they are drafts again, without a sender, and their senders are told"),
            "select count(*) from emails where mailbox_id = $1 and state in ('pending_send', 'sending')",
        )
        .await?,
        part(
            tenant,
            id,
            ("decisions", "what was decided about each message seen; the messages stay on the server"),
            "select count(*) from mailbox_items where mailbox_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("alerts", "those about the mailbox"),
            "select count(*) from alerts where mailbox_id = $1",
        )
        .await?,
    ];
    let stays = vec![
        part(
            tenant,
            id,
            ("received emails", "they stay with whoever the mailbox belonged to when they came, and still say where they came to"),
            "select count(distinct email_id) from receipts where mailbox_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("sent emails", "they stay with their owners"),
            "select count(*) from emails where mailbox_id = $1 and state in ('sent', 'failed', 'unknown')",
        )
        .await?,
        part(
            tenant,
            id,
            ("drafts", "they stay with their owners and need another sender"),
            "select count(*) from emails where mailbox_id = $1 and state = 'draft'",
        )
        .await?,
        part(
            tenant,
            id,
            ("changes", "its history stays as long as any"),
            "select count(*) from changes where record_type = 'mailbox' and record_id = $1",
        )
        .await?,
    ];
    let (name, version) = (mailbox.name.clone(), mailbox.version);
    Ok(Deletion { record_type: "mailbox", name, version, goes, stays, refused: None })
}

/// Removes a mailbox; says what went and what stays. Its address and login are free at once, and its server is not
/// touched. Mapped again, the same messages are one record with the ones that stayed.
pub async fn delete(tenant: &Tenant, id: MailboxId, expected: Option<i64>, by: &Author) -> Result<Deletion> {
    let mailbox = locked(tenant, id, expected).await?;
    let told = described(tenant, &mailbox).await?;
    schedule::bump(tenant, id, None).await?;
    outgoing::withdraw_from(tenant, id, "its mailbox was removed", by).await?;
    tenant.execute("delete from mailboxes where id = $1", &[&id.0]).await?;
    let removed = Removed {
        record_type: "mailbox",
        id: id.0,
        name: &mailbox.name,
        address: Some(&mailbox.address),
        version: mailbox.version,
        by,
    };
    bury(tenant, &removed).await?;
    Ok(told)
}

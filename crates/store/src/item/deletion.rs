//! Deletions on a mail server: an intention that is committed before the server hears of it, and what the server said.

use model::id::MailboxId;

use crate::{Result, Tenant};

/// Says that the server is going to be asked to delete these items. Only those recorded here for good are taken, and
/// given back; what is not among them must not be deleted.
pub async fn ask_deletion(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    items: &[&str],
) -> Result<Vec<String>> {
    let rows = tenant
        .query(
            "update mailbox_items set delete_asked_at = coalesce(delete_asked_at, now())
             where mailbox_id = $1 and folder = $2 and item_id = any($3) and gone_at is null
               and decision in ('recorded', 'duplicate') and email_id is not null
             returning item_id",
            &[&mailbox.0, &folder, &items],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Says that the server deleted these items, by its own word.
pub async fn deleted(tenant: &Tenant, mailbox: MailboxId, folder: &str, items: &[String]) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items set deleted_at = now(), gone_at = now()
             where mailbox_id = $1 and folder = $2 and item_id = any($3) and delete_asked_at is not null",
            &[&mailbox.0, &folder, &items],
        )
        .await?;
    Ok(())
}

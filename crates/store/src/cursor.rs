//! How far a folder was read: one value per mailbox, workload and folder, whose shape belongs to the provider. It is
//! written in the transaction that commits what was read, never alone.

use model::id::MailboxId;
use model::workload::Workload;
use serde_json::Value;

use crate::{Result, Tenant};

/// Where reading stopped; `None` when the folder was never read.
pub async fn get(
    tenant: &Tenant,
    mailbox: MailboxId,
    workload: Workload,
    folder: &str,
) -> Result<Option<Value>> {
    let row = tenant
        .query_opt(
            "select value from cursors where mailbox_id = $1 and workload = $2 and folder = $3",
            &[&mailbox.0, &workload.as_str(), &folder],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Remembers where reading stopped.
pub async fn put(
    tenant: &Tenant,
    mailbox: MailboxId,
    workload: Workload,
    folder: &str,
    value: &Value,
) -> Result<()> {
    tenant
        .execute(
            "insert into cursors (organization_id, mailbox_id, workload, folder, value)
             values (current_organization(), $1, $2, $3, $4)
             on conflict (organization_id, mailbox_id, workload, folder)
             do update set value = excluded.value, modified_at = now()",
            &[&mailbox.0, &workload.as_str(), &folder, value],
        )
        .await?;
    Ok(())
}

//! Items that were given up, on their way to the folder that the profile names for them. A move is an effect that others see: it is
//! asked for after the decision was committed, and written down after the server answered.

use model::id::MailboxId;

use crate::{Result, Tenant};

/// Tries to move an item.
const TRIES: i32 = 5;

/// Items of the folders whose names begin so that were given up and still lie there, the one that was tried least first: folder
/// and name. At most `most`.
pub async fn to_put_away(
    tenant: &Tenant,
    mailbox: MailboxId,
    within: &str,
    most: u32,
) -> Result<Vec<(String, String)>> {
    let rows = tenant
        .query(
            "select folder, item_id from mailbox_items
             where mailbox_id = $1 and decision = 'undeliverable' and starts_with(folder, $2) and gone_at is null
               and examine_again_at is null and moved_at is null and move_attempts < $3
             order by move_attempts, seen_at limit $4",
            &[&mailbox.0, &within, &TRIES, &i64::from(most)],
        )
        .await?;
    rows.iter().map(|row| Ok((row.try_get("folder")?, row.try_get("item_id")?))).collect()
}

/// The server moved it away.
pub async fn put_away(tenant: &Tenant, mailbox: MailboxId, folder: &str, item_id: &str) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items set moved_at = now(), gone_at = coalesce(gone_at, now()), move_error = null
             where mailbox_id = $1 and folder = $2 and item_id = $3",
            &[&mailbox.0, &folder, &item_id],
        )
        .await?;
    Ok(())
}

/// The server did not move it; why.
pub async fn not_put_away(
    tenant: &Tenant,
    mailbox: MailboxId,
    folder: &str,
    item_id: &str,
    why: &str,
) -> Result<()> {
    tenant
        .execute(
            "update mailbox_items set move_attempts = move_attempts + 1, move_error = $4
             where mailbox_id = $1 and folder = $2 and item_id = $3",
            &[&mailbox.0, &folder, &item_id, &why],
        )
        .await?;
    Ok(())
}

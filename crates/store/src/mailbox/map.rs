//! Giving a mailbox to another owner, and stopping it when its owner leaves. Nothing of the former owner's goes along: the
//! password is forgotten, an administrator must vouch again, and what they had waiting to be sent is a draft again.
//! Records stay with them.

use model::id::{MailboxId, UserId};
use model::mailbox::{Approval, Owner};

use super::create::{check_deletion, owner_columns};
use super::{Mailbox, check_owner, get, locked, touch, unknown, update};
use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::{Result, Tenant, change, outgoing, schedule};

/// Maps a mailbox to an owner, or to nobody. One that belongs to somebody else is refused with that owner's name,
/// unless `confirmed` names that owner.
pub async fn remap(
    tenant: &Tenant,
    id: MailboxId,
    expected: Option<i64>,
    to: Option<Owner>,
    confirmed: Option<Owner>,
    by: &Author,
) -> Result<Mailbox> {
    let old = locked(tenant, id, expected).await?;
    if old.owner == to {
        return Ok(old);
    }
    if old.owner.is_some() && confirmed != old.owner {
        let owner = old.owner_name.unwrap_or_default();
        return Err(Refusal::OwnerNotConfirmed { mailbox: old.name, owner }.into());
    }
    if let Some(owner) = to {
        check_owner(tenant, owner, Some(id)).await?;
    }
    check_deletion(old.delete_after_processing, to)?;
    // From here on no cycle of the former owner's can commit.
    update::test_again(tenant, id).await?;
    outgoing::withdraw_from(tenant, id, "its mailbox was given to another owner", by).await?;
    tenant.execute("delete from credentials where mailbox_id = $1", &[&id.0]).await?;
    let (user, queue) = owner_columns(to);
    // What was committed is older than the new owner's time, and what they receive is younger.
    let row = tenant
        .query_one(
            "update mailboxes set user_id = $2, queue_id = $3, approval = $4, mapped_at = clock_timestamp(),
                 version = version + 1, modified_at = now()
             where id = $1 returning version",
            &[&id.0, &user, &queue, &Approval::Pending.as_str()],
        )
        .await?;
    let mut fields = Fields::new().changed("owner", &old.owner, &to).changed(
        "approval",
        &old.approval,
        &Approval::Pending,
    );
    if old.has_password {
        fields = fields.named("password");
    }
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

/// Stops the mailbox of a user who leaves: nothing is fetched or sent for somebody who is gone, and what waited to be sent
/// is a draft again. It stays theirs until an administrator gives it to somebody else; it is tested and enabled again
/// when they come back. Does nothing when they have none.
pub async fn stop_for(tenant: &Tenant, user: UserId, by: &Author) -> Result<Option<MailboxId>> {
    let row = tenant.query_opt("select id from mailboxes where user_id = $1", &[&user.0]).await?;
    let Some(row) = row else { return Ok(None) };
    let id = MailboxId(row.try_get(0)?);
    let old = locked(tenant, id, None).await?;
    // Given away in the moment before it was held.
    if old.owner != Some(Owner::User(user)) {
        return Ok(None);
    }
    schedule::bump(tenant, id, None).await?;
    outgoing::withdraw_from(tenant, id, "the owner of its mailbox is no longer active", by).await?;
    tenant
        .execute(
            "update mailbox_workloads set enabled = false, disabled_by = null where mailbox_id = $1 and enabled",
            &[&id.0],
        )
        .await?;
    let mut fields = Fields::new();
    for state in old.workloads.iter().filter(|state| state.enabled) {
        fields = fields.changed(&format!("{}.enabled", state.workload), &true, &false);
    }
    if !fields.is_empty() {
        let version = touch(tenant, id).await?;
        change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await?;
    }
    Ok(Some(id))
}

/// Leaves messages on the server from now on: deleting them is for queues, and this mailbox ceases to be one's.
pub(crate) async fn keep_messages(tenant: &Tenant, id: MailboxId, by: &Author) -> Result<()> {
    let row = tenant
        .query_opt(
            "update mailboxes set delete_after_processing = false, version = version + 1, modified_at = now()
             where id = $1 and delete_after_processing returning version",
            &[&id.0],
        )
        .await?;
    let Some(row) = row else { return Ok(()) };
    let fields = Fields::new().changed("delete_after_processing", &true, &false);
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await
}

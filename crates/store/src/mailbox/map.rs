//! Giving a mailbox to another owner. Nothing of the former owner's goes along: the password is forgotten, an
//! administrator must vouch again, and what they had waiting to be sent is a draft again. Records stay with them.

use model::id::MailboxId;
use model::mailbox::{Approval, Owner};

use super::create::{check_deletion, owner_columns};
use super::{Mailbox, check_owner, get, locked, unknown, update};
use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::{Result, Tenant, change};

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
    let (user, queue) = owner_columns(to);
    let row = tenant
        .query_one(
            "update mailboxes set user_id = $2, queue_id = $3, approval = $4, version = version + 1, modified_at = now()
             where id = $1 returning version",
            &[&id.0, &user, &queue, &Approval::Pending.as_str()],
        )
        .await?;
    tenant.execute("delete from credentials where mailbox_id = $1", &[&id.0]).await?;
    update::test_again(tenant, id).await?;
    // From here on no cycle of the former owner's can commit, and what was committed is older than this.
    tenant.execute("update mailboxes set mapped_at = clock_timestamp() where id = $1", &[&id.0]).await?;
    tenant
        .execute(
            "update send_requests r set ended_at = now(), canceled_at = now() from emails e
             where e.mailbox_id = $1 and e.state = 'pending_send' and r.organization_id = e.organization_id
               and r.email_id = e.id and r.ended_at is null",
            &[&id.0],
        )
        .await?;
    tenant
        .execute(
            "update emails set state = 'draft', version = version + 1, modified_at = now()
             where mailbox_id = $1 and state = 'pending_send'",
            &[&id.0],
        )
        .await?;
    let fields = Fields::new()
        .changed("owner", &old.owner, &to)
        .changed("approval", &old.approval, &Approval::Pending)
        .named("password");
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

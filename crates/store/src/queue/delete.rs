//! Removing a shared inbox. Its mailbox stays without an owner, and what it received stays, for administrators.

use model::id::QueueId;
use model::mailbox::Owner;

use super::{Queue, get};
use crate::change::Author;
use crate::deletion::{Deletion, Removed, bury, part};
use crate::refusal::{Refusal, check_version};
use crate::{Result, Tenant, address, mailbox};

/// What removing a queue would do.
pub async fn deletion(tenant: &Tenant, id: QueueId) -> Result<Deletion> {
    let queue = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "queue", field: "id" })?;
    described(tenant, &queue).await
}

async fn described(tenant: &Tenant, queue: &Queue) -> Result<Deletion> {
    let id = queue.id.0;
    let goes = vec![
        part(
            tenant,
            id,
            ("memberships", "its members no longer see what it received and sent"),
            "select count(*) from queue_members where queue_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("pending sends", "they are drafts again, for administrators and their writers to see"),
            "select count(*) from emails e join mailboxes m on m.organization_id = e.organization_id and m.id = e.mailbox_id
             where m.queue_id = $1 and e.state in ('pending_send', 'sending')",
        )
        .await?,
        part(
            tenant,
            id,
            ("credentials", "the secret of the mailbox is forgotten"),
            "select count(*) from credentials c join mailboxes m on m.organization_id = c.organization_id
                 and m.id = c.mailbox_id where m.queue_id = $1",
        )
        .await?,
    ];
    let stays = vec![
        part(
            tenant,
            id,
            ("mailboxes", "without an owner and switched off, until an administrator maps or removes it"),
            "select count(*) from mailboxes where queue_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("owned emails", "they keep the queue's name; from then on administrators alone see them"),
            "select count(*) from emails where owner_kind = 'queue' and owner_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("changes", "its history stays as long as any"),
            "select count(*) from changes where record_type = 'queue' and record_id = $1",
        )
        .await?,
    ];
    let (name, version) = (queue.name.clone(), queue.version);
    Ok(Deletion { record_type: "queue", name, version, goes, stays, refused: None })
}

/// Removes a queue; says what went and what stays.
pub async fn delete(tenant: &Tenant, id: QueueId, expected: Option<i64>, by: &Author) -> Result<Deletion> {
    tenant.query_opt("select from queues where id = $1 for update", &[&id.0]).await?;
    let queue = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "queue", field: "id" })?;
    check_version("queue", expected, queue.version)?;
    let told = described(tenant, &queue).await?;
    let owner = Owner::Queue(id);
    if let Some(owned) = mailbox::of_owner(tenant, owner).await? {
        mailbox::keep_messages(tenant, owned.id, by).await?;
        mailbox::remap(tenant, owned.id, None, None, Some(owner), by).await?;
    }
    address::replace(tenant, "queue", id.0, &queue.name, &[]).await?;
    tenant.execute("delete from queues where id = $1", &[&id.0]).await?;
    let removed = Removed {
        record_type: "queue",
        id: id.0,
        name: &queue.name,
        address: Some(&queue.address),
        version: queue.version,
        by,
    };
    bury(tenant, &removed).await?;
    Ok(told)
}

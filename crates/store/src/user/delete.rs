//! Removing a user who is not to be known here any more. Leaving needs no removal: one who is made inactive is out of
//! everything and can come back.

use model::id::UserId;
use model::mailbox::Owner;

use super::{User, get};
use crate::change::Author;
use crate::deletion::{Deletion, Removed, bury, part};
use crate::refusal::{Refusal, check_version};
use crate::{Result, Tenant, address, mailbox};

/// What removing a user would do.
pub async fn deletion(tenant: &Tenant, id: UserId) -> Result<Deletion> {
    let user = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "user", field: "id" })?;
    described(tenant, &user).await
}

async fn described(tenant: &Tenant, user: &User) -> Result<Deletion> {
    let id = user.id.0;
    let goes = vec![
        part(
            tenant,
            id,
            ("keys", "they open nothing from then on"),
            "select count(*) from api_keys where user_id = $1 and revoked_at is null",
        )
        .await?,
        part(
            tenant,
            id,
            ("memberships", "of queues"),
            "select count(*) from queue_members where user_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("pending sends", "they are drafts again, for administrators to see"),
            "select count(*) from emails e join mailboxes m on m.organization_id = e.organization_id and m.id = e.mailbox_id
             where m.user_id = $1 and e.state in ('pending_send', 'sending')",
        )
        .await?,
        part(
            tenant,
            id,
            ("credentials", "the secret of the mailbox is forgotten"),
            "select count(*) from credentials c join mailboxes m on m.organization_id = c.organization_id
                 and m.id = c.mailbox_id where m.user_id = $1",
        )
        .await?,
    ];
    let stays = vec![
        part(
            tenant,
            id,
            ("mailboxes", "without an owner and switched off, until an administrator maps or removes it"),
            "select count(*) from mailboxes where user_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("owned emails", "they keep their owner's name; from then on administrators alone see them"),
            "select count(*) from emails where owner_kind = 'user' and owner_id = $1",
        )
        .await?,
        part(
            tenant,
            id,
            ("changes", "what they did stays under their name"),
            "select count(*) from changes where actor_kind = 'user' and actor_id = $1::uuid::text",
        )
        .await?,
    ];
    let (name, version) = (user.name.clone(), user.version);
    let refused = last_administrator(tenant, user).await?;
    Ok(Deletion { record_type: "user", name, version, goes, stays, refused })
}

/// Somebody must be left who can set up the organization.
async fn last_administrator(tenant: &Tenant, user: &User) -> Result<Option<Refusal>> {
    let others = tenant
        .query_one("select count(*) from users where role = 'admin' and active and id <> $1", &[&user.id.0])
        .await?;
    let refused = user.role == model::mailbox::Role::Admin && others.try_get::<_, i64>(0)? == 0;
    Ok(refused.then(|| {
        Refusal::invalid(
            "id",
            format!("{} is the last administrator of the organization", user.name),
            "make somebody else an administrator first",
        )
    }))
}

/// Removes a user; says what went and what stays. Refused for the last administrator.
pub async fn delete(tenant: &Tenant, id: UserId, expected: Option<i64>, by: &Author) -> Result<Deletion> {
    super::in_turn(tenant).await?;
    tenant.query_opt("select from users where id = $1 for update", &[&id.0]).await?;
    let user = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "user", field: "id" })?;
    check_version("user", expected, user.version)?;
    let told = described(tenant, &user).await?;
    if let Some(refused) = told.refused {
        return Err(refused.into());
    }
    let owner = Owner::User(id);
    if let Some(owned) = mailbox::of_owner(tenant, owner).await? {
        mailbox::remap(tenant, owned.id, None, None, Some(owner), by).await?;
    }
    address::replace(tenant, "user", id.0, &user.name, &[]).await?;
    tenant.execute("delete from users where id = $1", &[&id.0]).await?;
    let removed = Removed {
        record_type: "user",
        id: id.0,
        name: &user.name,
        address: Some(&user.address),
        version: user.version,
        by,
    };
    bury(tenant, &removed).await?;
    Ok(told)
}

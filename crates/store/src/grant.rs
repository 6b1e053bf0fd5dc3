//! Grants to send as somebody: a user lets another one send in the own name. Taking a grant back stops at once what
//! still waits on its right.

use jiff::Timestamp;
use model::id::UserId;

use crate::change::{Author, Change, Fields};
use crate::outgoing::withdraw_of;
use crate::refusal::Refusal;
use crate::{Result, Tenant, change};

/// A person and since when.
#[derive(Clone)]
pub struct Grant {
    /// The other person of the grant.
    pub user: UserId,
    /// The name to show.
    pub name: String,
    /// The address.
    pub address: String,
    /// Since when.
    pub since: Timestamp,
}

/// The grants of one user.
#[derive(Clone, Default)]
pub struct Grants {
    /// Who may send in the user's name.
    pub given: Vec<Grant>,
    /// In whose name the user may send.
    pub received: Vec<Grant>,
}

/// Lets `sender` send in the name of `granter`; doing it again changes nothing.
pub async fn give(tenant: &Tenant, granter: UserId, sender: UserId, by: &Author) -> Result<()> {
    if granter == sender {
        let cause = "everybody may send in the own name";
        return Err(Refusal::invalid("user", cause, "name another user").into());
    }
    let known = tenant
        .query("select id, active from users where id = any($1) for share", &[&vec![granter.0, sender.0]])
        .await?;
    for (id, field) in [(granter, "id"), (sender, "user")] {
        let row = known.iter().find(|row| row.try_get::<_, uuid::Uuid>(0).is_ok_and(|found| found == id.0));
        let Some(row) = row else { return Err(Refusal::Unknown { what: "user", field }.into()) };
        if !row.try_get::<_, bool>("active")? {
            let cause = "a user of this grant is not active";
            return Err(Refusal::invalid(field, cause, "choose somebody who is").into());
        }
    }
    let added = tenant
        .execute(
            "insert into send_grants (organization_id, granter_id, grantee_id)
             values (current_organization(), $1, $2) on conflict do nothing",
            &[&granter.0, &sender.0],
        )
        .await?;
    if added == 0 {
        return Ok(());
    }
    written(tenant, granter, Fields::new().set("send_grant", sender), by).await
}

/// Takes the grant back. What waits to be sent on its right goes back to being a draft, with an alert: nothing leaves
/// in somebody's name after that person said no. Doing it again changes nothing.
pub async fn take_back(tenant: &Tenant, granter: UserId, sender: UserId, by: &Author) -> Result<()> {
    let removed = tenant
        .execute(
            "delete from send_grants where granter_id = $1 and grantee_id = $2",
            &[&granter.0, &sender.0],
        )
        .await?;
    if removed == 0 {
        return match tenant.query_opt("select from users where id = $1", &[&granter.0]).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::Unknown { what: "user", field: "id" }.into()),
        };
    }
    withdraw_of(tenant, sender, "the grant to send in this name was taken back", by).await?;
    written(tenant, granter, Fields::new().changed("send_grant", &Some(sender), &None), by).await
}

/// The grants that a user gave and got, by name.
pub async fn of(tenant: &Tenant, user: UserId) -> Result<Grants> {
    let rows = tenant
        .query(
            "select g.granter_id = $1 as given, u.id, u.name, u.address, g.created_at from send_grants g
             join users u on u.organization_id = g.organization_id
                         and u.id = case when g.granter_id = $1 then g.grantee_id else g.granter_id end
             where g.granter_id = $1 or g.grantee_id = $1 order by u.name, u.id",
            &[&user.0],
        )
        .await?;
    let mut grants = Grants::default();
    for row in &rows {
        let grant = Grant {
            user: UserId(row.try_get("id")?),
            name: row.try_get("name")?,
            address: row.try_get("address")?,
            since: row.try_get("created_at")?,
        };
        if row.try_get("given")? { grants.given.push(grant) } else { grants.received.push(grant) }
    }
    Ok(grants)
}

/// The granter's record changed: raises its version with the row of the log.
async fn written(tenant: &Tenant, granter: UserId, fields: Fields, by: &Author) -> Result<()> {
    let row = tenant
        .query_one(
            "update users set version = version + 1, modified_at = now() where id = $1 returning version",
            &[&granter.0],
        )
        .await?;
    let version = row.try_get(0)?;
    change::write(tenant, Change { record_type: "user", id: granter.0, version, by, fields }).await
}

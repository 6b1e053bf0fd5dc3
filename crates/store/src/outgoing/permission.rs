//! Who may send from which mailbox: its owner, the members of the queue that owns it, and whoever its owner lets send in
//! their name. Everybody else may not, administrators and services included.

use model::id::{MailboxId, UserId};
use tokio_postgres::Row;

use crate::refusal::Refusal;
use crate::{Result, Tenant};

/// A condition on `mailboxes m`: this active person may send from it.
pub(super) fn may_send(person: &str) -> String {
    format!(
        "(exists (select from users u where u.organization_id = m.organization_id and u.id = {person} and u.active)
          and (m.user_id = {person}
               or exists (select from queue_members q where q.organization_id = m.organization_id
                             and q.queue_id = m.queue_id and q.user_id = {person})
               or exists (select from send_grants g
                          join users o on o.organization_id = g.organization_id and o.id = g.granter_id and o.active
                          where g.organization_id = m.organization_id and g.granter_id = m.user_id
                            and g.grantee_id = {person})))"
    )
}

/// Whether this person may send from the mailbox, as things stand.
pub async fn may_send_from(tenant: &Tenant, person: UserId, mailbox: MailboxId) -> Result<bool> {
    let condition = may_send("$2");
    let row = tenant
        .query_opt(
            &format!("select from mailboxes m where m.id = $1 and {condition}"),
            &[&mailbox.0, &person.0],
        )
        .await?;
    Ok(row.is_some())
}

/// The refusal of somebody who may not, with who could change that; of a row with the mailbox's `name`, its owner's
/// `user_name` and `queue_name`.
pub(super) fn refused(row: &Row) -> Result<Refusal> {
    let (user, queue): (Option<String>, Option<String>) =
        (row.try_get("user_name")?, row.try_get("queue_name")?);
    let remedy = match (user, queue) {
        (Some(user), _) => format!("ask {user}, or an administrator, for the grant to send as {user}"),
        (_, Some(queue)) => format!("ask an administrator to make you a member of the queue {queue}"),
        _ => "ask an administrator to map it to an owner first".to_owned(),
    };
    Ok(Refusal::NotYourSender { mailbox: row.try_get("name")?, remedy })
}

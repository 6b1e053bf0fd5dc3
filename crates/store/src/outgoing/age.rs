//! Sends that wait: told about after a quarter of an hour, and given up when they are too old, whatever holds them up.
//! This needs no claim and no connection, so it holds for mailboxes that are switched off or paused as well.

use std::time::Duration;

use model::alert::AlertKind;
use model::id::{EmailId, MailboxId, OrganizationId};
use serde_json::{Value, json};

use super::{expire, waiting_since};
use crate::alert::{self, NewAlert, Subject};
use crate::change::Author;
use crate::{Result, Ring, Tenant};

/// How long a send waits before its sender is told (design section 6).
pub const TOLD_AFTER: Duration = Duration::from_secs(15 * 60);

/// Gives up what waits for longer than `max_age`, and tells about what waits for longer than a quarter of an hour.
pub async fn age(tenant: &Tenant, mailbox: MailboxId, max_age: Duration, by: &Author) -> Result<()> {
    for email in expire(tenant, mailbox, max_age, by).await? {
        alert::resolve(tenant, &[AlertKind::SendWaiting], Subject::Email(email), None).await?;
        tell(tenant, AlertKind::SendTooLate, email, json!({"hours": max_age.as_secs() / 3600})).await?;
    }
    for email in waiting_since(tenant, mailbox, TOLD_AFTER).await? {
        tell(tenant, AlertKind::SendWaiting, email, json!({})).await?;
    }
    Ok(())
}

async fn tell(tenant: &Tenant, kind: AlertKind, email: EmailId, parameters: Value) -> Result<()> {
    let subject = Subject::Email(email);
    let alert = NewAlert { kind, subject, detail: String::new(), parameters, server_said: None };
    alert::raise(tenant, &alert).await?;
    Ok(())
}

/// The mailboxes with a send that waits for longer than a quarter of an hour, or about which a server was asked for long enough, over
/// all organizations.
pub async fn held_up(ring: &Ring, limit: i64) -> Result<Vec<(OrganizationId, MailboxId)>> {
    let rows = ring
        .query(
            "select distinct e.organization_id, e.mailbox_id from emails e
             join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                 and r.ended_at is null
             where e.state = 'pending_send' and e.mailbox_id is not null
               and greatest(r.requested_at, r.not_before) <= now() - make_interval(secs => $1)
             union
             select e.organization_id, e.mailbox_id from send_attempts a
             join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id
             where a.asked_until <= now() and e.mailbox_id is not null
             limit $2",
            &[&TOLD_AFTER.as_secs_f64(), &limit],
        )
        .await?;
    rows.iter().map(|row| Ok((OrganizationId(row.try_get(0)?), MailboxId(row.try_get(1)?)))).collect()
}

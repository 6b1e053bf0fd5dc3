//! Taking back what waits to be sent. Whoever has got it keeps it, and what may have left already stays in doubt: no way
//! back ever hides that.

use model::alert::AlertKind;
use model::email::{EmailState, RecipientState};
use model::id::{EmailId, MailboxId, UserId};
use serde_json::json;

use super::report::settle_doubt;
use super::{Held, hold, set_state, settle};
use crate::alert::{self, NewAlert, Subject};
use crate::change::Author;
use crate::{Result, Tenant};

/// Ends the waiting of a pending email: those who wait or are deferred become `into`. An email that nobody has got and
/// nobody refused is a draft again. One whose earlier try is in doubt, because a person asked for it again, is in doubt
/// as before.
pub(super) async fn give_up(
    tenant: &Tenant,
    held: &Held,
    into: RecipientState,
    said: Option<&str>,
    by: &Author,
) -> Result<EmailState> {
    tenant
        .execute(
            "update send_recipients rc set state = $2, server_said = coalesce(rc.server_said, $3) from send_requests r
             where r.email_id = $1 and r.ended_at is null and r.organization_id = rc.organization_id
               and r.id = rc.send_request_id and rc.state in ('waiting', 'deferred')
               and not exists (select from send_attempts a
                               where a.organization_id = r.organization_id and a.send_request_id = r.id
                                 and coalesce(a.answer, 'unknown') = 'unknown'
                                 and rc.position = any(a.recipients) and rc.position <> all(a.turned_away))",
            &[&held.id.0, &into.as_str(), &said],
        )
        .await?;
    let row = tenant
        .query_one(
            "select coalesce(bool_or(r.ended_at is null and rc.state in ('waiting', 'deferred')), false) as in_doubt,
                    coalesce(bool_and(rc.state = 'canceled'), true) as untouched from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             where r.email_id = $1",
            &[&held.id.0],
        )
        .await?;
    if row.try_get("in_doubt")? {
        set_state(tenant, held, EmailState::Unknown, by).await?;
        tell(tenant, AlertKind::SendUnknown, held.id, "").await?;
        // Reports that came in while it waited to go again speak of the try in doubt.
        return Ok(settle_doubt(tenant, held.id, by).await?.unwrap_or(EmailState::Unknown));
    }
    alert::resolve(tenant, &[AlertKind::SendWaiting], Subject::Email(held.id), None).await?;
    if row.try_get("untouched")? {
        tenant
            .execute(
                "update send_requests set ended_at = now() where email_id = $1 and ended_at is null",
                &[&held.id.0],
            )
            .await?;
        set_state(tenant, held, EmailState::Draft, by).await?;
        return Ok(EmailState::Draft);
    }
    settle(tenant, held, by).await
}

/// Takes back a pending send: whoever still waits is dropped.
pub(super) async fn take_back(tenant: &Tenant, held: &Held, by: &Author) -> Result<EmailState> {
    cancel_request(tenant, held.id).await?;
    give_up(tenant, held, RecipientState::Canceled, None, by).await
}

/// Takes back a pending send because of something that happened since it was asked for, and tells about it. `reason`
/// completes "was taken back because …".
pub(super) async fn withdraw(tenant: &Tenant, held: &Held, reason: &str, by: &Author) -> Result<EmailState> {
    let state = take_back(tenant, held, by).await?;
    tell(tenant, AlertKind::SendWithdrawn, held.id, reason).await?;
    Ok(state)
}

/// Takes back all that a mailbox was about to send, because it changes hands, stops for good or is removed; its claim was
/// raised in this transaction. Nothing of one owner's leaves for another, and nobody's mail disappears without a word. What
/// is just leaving is in doubt until the server's answer is written down, and then nobody is tried again.
pub(crate) async fn withdraw_from(
    tenant: &Tenant,
    mailbox: MailboxId,
    reason: &'static str,
    by: &Author,
) -> Result<()> {
    let rows = tenant
        .query(
            "select id from emails where mailbox_id = $1 and state in ('pending_send', 'sending')
             order by id for no key update",
            &[&mailbox.0],
        )
        .await?;
    for row in &rows {
        let held = hold(tenant, EmailId(row.try_get("id")?), None).await?;
        if held.state == EmailState::Sending {
            cancel_request(tenant, held.id).await?;
            set_state(tenant, &held, EmailState::Unknown, by).await?;
            tell(tenant, AlertKind::SendUnknown, held.id, reason).await?;
        } else {
            withdraw(tenant, &held, reason, by).await?;
        }
        // What a report has told of already is in no doubt.
        settle_doubt(tenant, held.id, by).await?;
    }
    Ok(())
}

/// Says that nobody else is to be tried, whatever a try that is under way comes to.
async fn cancel_request(tenant: &Tenant, email: EmailId) -> Result<()> {
    tenant
        .execute(
            "update send_requests set canceled_at = now() where email_id = $1 and ended_at is null",
            &[&email.0],
        )
        .await?;
    Ok(())
}

/// Takes back what waits to be sent on this person's right, from mailboxes that the person may not send from any more.
pub(crate) async fn withdraw_of(
    tenant: &Tenant,
    person: UserId,
    reason: &str,
    by: &Author,
) -> Result<Vec<EmailId>> {
    let rows = tenant
        .query(
            &format!(
                "select e.id from emails e
                 join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                                     and r.ended_at is null
                 join mailboxes m on m.organization_id = e.organization_id and m.id = e.mailbox_id
                 where e.state = 'pending_send' and r.rests_on = $1 and {} is not true order by e.id",
                super::permission::may_send("$1")
            ),
            &[&person.0],
        )
        .await?;
    let mut withdrawn = Vec::new();
    for row in &rows {
        let id = EmailId(row.try_get(0)?);
        let held = hold(tenant, id, None).await?;
        if held.state == EmailState::PendingSend {
            withdraw(tenant, &held, reason, by).await?;
            withdrawn.push(id);
        }
    }
    Ok(withdrawn)
}

async fn tell(tenant: &Tenant, kind: AlertKind, email: EmailId, reason: &str) -> Result<()> {
    let parameters = if reason.is_empty() { json!({}) } else { json!({"reason": reason}) };
    let subject = Subject::Email(email);
    let alert = NewAlert { kind, subject, detail: String::new(), parameters, server_said: None };
    alert::raise(tenant, &alert).await?;
    Ok(())
}

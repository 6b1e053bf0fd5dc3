//! Unknown: a person decides, and nothing is doubled silently.

use model::alert::AlertKind;
use model::email::EmailState;
use model::id::{EmailId, UserId};
use serde_json::json;

use super::{hold, set_state, settle};
use crate::alert::{self, NewAlert, Subject};
use crate::change::Author;
use crate::refusal::Refusal;
use crate::{Result, Tenant};

/// What a person says about an email of which nobody knows whether it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It was: its recipients have got it.
    MarkSent,
    /// Send it again, although they may have got it: it is marked as a possible duplicate.
    Resend,
}

/// Decides what was in doubt; returns where the email stands now. Sending again asks for the same as sending did: the
/// mailbox may be somebody else's by now, and from here on it rests on this person's right.
pub async fn resolve_unknown(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    resolution: Resolution,
    person: Option<UserId>,
    by: &Author,
) -> Result<EmailState> {
    let held = hold(tenant, id, expected).await?;
    if held.state != EmailState::Unknown {
        let remedy = "there is nothing in doubt";
        return Err(Refusal::WrongState { state: held.state, verb: "decided about", remedy }.into());
    }
    if resolution == Resolution::Resend {
        let mailbox = held.mailbox.ok_or(Refusal::NoSender)?;
        let sender = super::request::check_sender(tenant, mailbox, person).await?;
        super::request::put_sender(tenant, id, &sender, person).await?;
    }
    alert::resolve(tenant, &[AlertKind::SendUnknown], Subject::Email(id), None).await?;
    super::laid_down::asked_enough(tenant, id).await?;
    match resolution {
        Resolution::MarkSent => {
            // Those in doubt, and no others: somebody deferred before the doubt is still waited for.
            tenant
                .execute(
                    "update send_recipients rc set state = 'accepted' from send_requests r
                     where r.email_id = $1 and r.ended_at is null and r.organization_id = rc.organization_id
                       and r.id = rc.send_request_id and rc.state in ('waiting', 'deferred')
                       and exists (select from send_attempts a
                                   where a.organization_id = r.organization_id and a.send_request_id = r.id
                                     and coalesce(a.answer, 'unknown') = 'unknown'
                                     and rc.position = any(a.recipients) and rc.position <> all(a.turned_away))",
                    &[&id.0],
                )
                .await?;
            let state = settle(tenant, &held, by).await?;
            if let (EmailState::PendingSend, Some(mailbox)) = (state, held.mailbox) {
                super::request::make_due(tenant, mailbox, None).await?;
            }
            Ok(state)
        }
        Resolution::Resend => {
            // A new wish to send: its age counts from now, and it is taken back no more.
            tenant
                .execute(
                    "update send_requests set not_before = now(), canceled_at = null, rests_on = $2
                     where email_id = $1 and ended_at is null",
                    &[&id.0, &person.map(|person| person.0)],
                )
                .await?;
            tenant
                .execute(
                    "update send_recipients rc set next_try_at = now() from send_requests r
                     where r.email_id = $1 and r.ended_at is null and r.organization_id = rc.organization_id
                       and r.id = rc.send_request_id and rc.state in ('waiting', 'deferred')",
                    &[&id.0],
                )
                .await?;
            set_state(tenant, &held, EmailState::PendingSend, by).await?;
            mark_duplicate(tenant, id).await?;
            if let Some(mailbox) = held.mailbox {
                super::request::make_due(tenant, mailbox, None).await?;
            }
            Ok(EmailState::PendingSend)
        }
    }
}

/// Marks an email that recipients may get twice, and tells about it.
pub(super) async fn mark_duplicate(tenant: &Tenant, id: EmailId) -> Result<()> {
    tenant.execute("update emails set maybe_duplicate = true where id = $1", &[&id.0]).await?;
    let twice = NewAlert {
        kind: AlertKind::MaybeSentTwice,
        subject: Subject::Email(id),
        detail: String::new(),
        parameters: json!({}),
        server_said: None,
    };
    alert::raise(tenant, &twice).await?;
    Ok(())
}

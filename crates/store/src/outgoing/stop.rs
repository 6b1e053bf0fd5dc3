//! The end of everything that a mailbox was about to send, because it changes hands, stops for good or is removed.
//! Nothing of one owner's leaves for another, and nobody's mail disappears without a word.

use model::alert::AlertKind;
use model::email::EmailState;
use model::id::{EmailId, MailboxId};
use serde_json::json;

use super::report::settle_doubt;
use super::{Held, cancel, set_state};
use crate::alert::{self, NewAlert, Subject};
use crate::change::Author;
use crate::row::named;
use crate::{Result, Tenant};

/// Takes back what waits to be sent from a mailbox whose claim was raised in this transaction: drafts again, or settled by
/// what their recipients got so far. What is just leaving is in doubt until the server's answer is written down, and then
/// nobody is tried again. Each raises an alert; `reason` completes "it was not sent: …".
pub(crate) async fn stop(
    tenant: &Tenant,
    mailbox: MailboxId,
    reason: &'static str,
    by: &Author,
) -> Result<()> {
    let rows = tenant
        .query(
            "select id, state from emails where mailbox_id = $1 and state in ('pending_send', 'sending')
             order by id for no key update",
            &[&mailbox.0],
        )
        .await?;
    for row in &rows {
        let email = EmailId(row.try_get("id")?);
        let state: EmailState = named(row, "state")?;
        let kind = if state == EmailState::Sending {
            tenant
                .execute(
                    "update send_requests set canceled_at = now() where email_id = $1 and ended_at is null",
                    &[&email.0],
                )
                .await?;
            let held = Held { id: email, state, mailbox: Some(mailbox), version: 0 };
            set_state(tenant, &held, EmailState::Unknown, by).await?;
            AlertKind::SendUnknown
        } else {
            cancel(tenant, email, None, by).await?;
            alert::resolve(tenant, &[AlertKind::SendWaiting], Subject::Email(email), None).await?;
            AlertKind::SendWithdrawn
        };
        let told = NewAlert {
            kind,
            subject: Subject::Email(email),
            detail: String::new(),
            parameters: json!({"reason": reason}),
            server_said: None,
        };
        alert::raise(tenant, &told).await?;
        settle_doubt(tenant, email, by).await?;
    }
    Ok(())
}

//! What reports prove about an email in doubt: that it left, and for whom it came back. What a person decides about it
//! is in the module `doubt` of sending.

use jiff::Timestamp;
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState};
use model::id::{EmailId, SendRequestId};
use model::report::{ReportedRecipient, ends_doubt};
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;

use super::follow::{Recipient, Told, follow, meant, recipients};
use crate::alert::{self, Subject};
use crate::change::Author;
use crate::outgoing::hold;
use crate::outgoing::request::due_again;
use crate::row::named;
use crate::{Error, Result, Tenant};

/// The tries of an email's open request of which nobody knows whether they left.
struct Doubt {
    request: SendRequestId,
    tries: usize,
    /// The recipients of the last one whom the server had not turned away before, by position.
    positions: Vec<i32>,
    since: Timestamp,
}

/// Ends the doubt about an email when a report that came in since the try began proves that it left; gives where it
/// stands then, and nothing when it is in no doubt or stays so. Alerts about the doubt are resolved.
pub(in crate::outgoing) async fn settle_doubt(
    tenant: &Tenant,
    email: EmailId,
    by: &Author,
) -> Result<Option<EmailState>> {
    let held = hold(tenant, email, None).await?;
    if held.state != EmailState::Unknown {
        return Ok(None);
    }
    let Some(doubt) = doubt(tenant, email).await? else { return Ok(None) };
    let told = told(tenant, &doubt).await?;
    let mut recipients = recipients(tenant, doubt.request).await?;
    let in_doubt = |recipient: &Recipient| {
        matches!(recipient.state, RecipientState::Waiting | RecipientState::Deferred)
            && doubt.positions.contains(&recipient.position)
    };
    let spoken_of = told.iter().flat_map(|told| {
        told.recipients.iter().flat_map(|reported| {
            let meant = meant(&recipients, told.kind, reported);
            meant.into_iter().filter(|index| in_doubt(&recipients[*index])).map(|_| reported.action)
        })
    });
    if !ends_doubt(doubt.tries, spoken_of) {
        return Ok(None);
    }
    // The server took the message for all whom it had not turned away at RCPT.
    for recipient in &mut recipients {
        if in_doubt(recipient) {
            recipient.state = RecipientState::Accepted;
        }
    }
    tenant
        .execute(
            "update send_recipients set state = 'accepted'
             where send_request_id = $1 and position = any($2) and state in ('waiting', 'deferred')",
            &[&doubt.request.0, &doubt.positions],
        )
        .await?;
    let state = follow(tenant, &held, doubt.request, &mut recipients, &told, true, by).await?;
    alert::resolve(tenant, &[AlertKind::SendUnknown], Subject::Email(email), None).await?;
    if state == EmailState::PendingSend {
        due_again(tenant, email).await?;
    } else {
        alert::resolve(tenant, &[AlertKind::SendWaiting], Subject::Email(email), None).await?;
    }
    Ok(Some(state))
}

async fn doubt(tenant: &Tenant, email: EmailId) -> Result<Option<Doubt>> {
    let rows = tenant
        .query(
            "select r.id, a.recipients, a.turned_away, a.started_at from send_attempts a
             join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
             where r.email_id = $1 and r.ended_at is null and coalesce(a.answer, 'unknown') = 'unknown'
             order by a.id desc",
            &[&email.0],
        )
        .await?;
    let Some(last) = rows.first() else { return Ok(None) };
    let tries = rows.iter().map(in_doubt).collect::<Result<Vec<_>>>()?;
    let positions = tries[0].clone();
    // A try about others is no other reading of a report about these.
    let tries = tries.iter().filter(|of| of.iter().any(|position| positions.contains(position))).count();
    Ok(Some(Doubt {
        request: SendRequestId(last.try_get("id")?),
        tries,
        positions,
        since: last.try_get("started_at")?,
    }))
}

/// Whom a try without a known end is about.
fn in_doubt(row: &Row) -> Result<Vec<i32>> {
    let (mut recipients, turned_away): (Vec<i32>, Vec<i32>) =
        (row.try_get("recipients")?, row.try_get("turned_away")?);
    recipients.retain(|position| !turned_away.contains(position));
    Ok(recipients)
}

/// What was kept since the try began, the oldest first.
async fn told(tenant: &Tenant, doubt: &Doubt) -> Result<Vec<Told>> {
    let rows = tenant
        .query(
            "select kind, reporter, recipients, received_at from reports
             where send_request_id = $1 and created_at >= $2 order by id",
            &[&doubt.request.0, &doubt.since],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let kept: Value = row.try_get("recipients")?;
            let kept: Vec<Kept> = serde_json::from_value(kept)
                .map_err(|error| Error::Broken(format!("a report that was kept cannot be read: {error}")))?;
            Ok(Told {
                kind: named(row, "kind")?,
                reporter: row.try_get("reporter")?,
                received_at: row.try_get("received_at")?,
                recipients: kept.into_iter().map(Kept::read).collect(),
            })
        })
        .collect()
}

/// One recipient as the module above wrote it down.
#[derive(Deserialize)]
struct Kept {
    address: String,
    original: Option<String>,
    action: model::report::ReportedAction,
    status: Option<String>,
    said: Option<String>,
}

impl Kept {
    fn read(self) -> ReportedRecipient {
        let Self { address, original, action, status, said } = self;
        ReportedRecipient { address, original, action, status, said }
    }
}

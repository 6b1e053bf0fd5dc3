//! What becomes of an email after a server took it: reports find the email they speak of, and move the recipients that
//! were accepted. No report makes anything be sent again, and none reaches another mailbox's email.

mod find;
mod read;

pub use find::{Found, find};
pub use read::{StoredReport, of_email, raw};

use bytes::Bytes;
use jiff::Timestamp;
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState, settled};
use model::id::{MailboxId, ReportId};
use model::identity::Identity;
use model::report::{Report, ReportKind, ReportedAction, ReportedRecipient, effect};
use serde_json::{Value, json};

use super::{Held, hold};
use crate::alert::{self, NewAlert, Subject};
use crate::blob::{self, BlobId};
use crate::change::{self, Author, Change, Fields};
use crate::incoming::Raw;
use crate::row::{named, named_if, wide};
use crate::{Result, Tenant};

/// A report that came into the mailbox that had sent the email.
pub struct IncomingReport {
    /// Of which email it speaks.
    pub found: Found,
    /// What it says.
    pub report: Report,
    /// What makes the report itself.
    pub identity: Identity,
    /// The raw message.
    pub raw: Raw,
}

/// Keeps a report and does what it says; false when it was read before. The report stays with the email whatever it says.
pub async fn apply(
    tenant: &Tenant,
    mailbox: MailboxId,
    incoming: &IncomingReport,
    received_at: Option<Timestamp>,
    by: &Author,
) -> Result<bool> {
    let held = hold(tenant, incoming.found.email, None).await?;
    if !keep(tenant, mailbox, incoming, received_at).await? {
        return Ok(false);
    }
    let recipients = recipients(tenant, incoming).await?;
    let mut moved: Vec<Moved<'_>> = Vec::new();
    for reported in &incoming.report.recipients {
        for recipient in meant(&recipients, incoming.report.kind, reported) {
            let effect = effect(recipient.state, recipient.reported, reported.action);
            if (effect.noted || effect.read) && !moved.iter().any(|one| one.position == recipient.position) {
                let state = effect.state.unwrap_or(recipient.state);
                moved.push(Moved {
                    position: recipient.position,
                    was: recipient.state,
                    state,
                    reported,
                    effect,
                });
            }
        }
    }
    if moved.is_empty() {
        return Ok(true);
    }
    write(tenant, incoming, &moved, received_at).await?;
    follow(tenant, &held, incoming, &moved, by).await?;
    Ok(true)
}

/// Writes the report down; false when it is there.
async fn keep(
    tenant: &Tenant,
    mailbox: MailboxId,
    incoming: &IncomingReport,
    received_at: Option<Timestamp>,
) -> Result<bool> {
    let (raw, size) = match &incoming.raw {
        Raw::Bytes(bytes) => {
            let contents: [(BlobId, Bytes); 1] = [(BlobId::of(bytes), bytes.clone())];
            blob::put_all(tenant, &contents).await?;
            (contents[0].0, wide(bytes.len()))
        }
        Raw::Stored(stored) => (stored.blob, i64::try_from(stored.size).unwrap_or(i64::MAX)),
    };
    let id: ReportId = model::clock::new_id();
    let said: Vec<Value> = incoming.report.recipients.iter().map(described).collect();
    let new = tenant
        .execute(
            "insert into reports (organization_id, id, email_id, send_request_id, mailbox_id, kind, identity, reporter,
                                  recipients, raw_sha256, raw_size, received_at)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (email_id, organization_id, identity) do nothing",
            &[
                &id.0,
                &incoming.found.email.0,
                &incoming.found.request.0,
                &mailbox.0,
                &incoming.report.kind.as_str(),
                &incoming.identity.0.as_slice(),
                &incoming.report.reporter,
                &Value::Array(said),
                &raw.0.as_slice(),
                &size,
                &received_at,
            ],
        )
        .await?;
    Ok(new > 0)
}

fn described(reported: &ReportedRecipient) -> Value {
    json!({
        "address": reported.address,
        "original": reported.original,
        "action": reported.action,
        "status": reported.status,
        "said": reported.said,
    })
}

/// A recipient of the request that the report speaks of.
struct Recipient {
    position: i32,
    address: String,
    state: RecipientState,
    reported: Option<ReportedAction>,
}

async fn recipients(tenant: &Tenant, incoming: &IncomingReport) -> Result<Vec<Recipient>> {
    let rows = tenant
        .query(
            "select position, lower(address) as address, state, reported from send_recipients
             where send_request_id = $1 order by position",
            &[&incoming.found.request.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Recipient {
                position: row.try_get("position")?,
                address: model::address::normalize(row.try_get("address")?),
                state: named(row, "state")?,
                reported: named_if(row, "reported")?,
            })
        })
        .collect()
}

/// Whom a report means: by the address that it was sent to, else by the one it ended at. When an email went to one alone,
/// it is that one: a forwarder's address stands in the report, or none. A read receipt always names its reader.
fn meant<'a>(
    recipients: &'a [Recipient],
    kind: ReportKind,
    reported: &ReportedRecipient,
) -> Vec<&'a Recipient> {
    for address in [reported.original.as_ref(), Some(&reported.address)].into_iter().flatten() {
        let named: Vec<_> = recipients.iter().filter(|recipient| recipient.address == *address).collect();
        if !named.is_empty() {
            return named;
        }
    }
    match (kind, recipients) {
        (ReportKind::DeliveryReport, [only]) => vec![only],
        _ => Vec::new(),
    }
}

/// A recipient for whom something changes.
struct Moved<'a> {
    position: i32,
    was: RecipientState,
    state: RecipientState,
    reported: &'a ReportedRecipient,
    effect: model::report::Effect,
}

async fn write(
    tenant: &Tenant,
    incoming: &IncomingReport,
    moved: &[Moved<'_>],
    received_at: Option<Timestamp>,
) -> Result<()> {
    let positions: Vec<_> = moved.iter().map(|one| one.position).collect();
    let states: Vec<_> = moved.iter().map(|one| one.state.as_str()).collect();
    let actions: Vec<_> = moved.iter().map(|one| one.reported.action.as_str()).collect();
    let statuses: Vec<_> = moved.iter().map(|one| one.reported.status.as_deref()).collect();
    let said: Vec<_> = moved.iter().map(|one| one.reported.said.as_deref()).collect();
    let noted: Vec<_> = moved.iter().map(|one| one.effect.noted).collect();
    let read: Vec<_> = moved.iter().map(|one| one.effect.read).collect();
    tenant
        .execute(
            "update send_recipients rc set state = u.state,
                 reported = case when u.noted then u.action else rc.reported end,
                 reported_status = case when u.noted then u.status else rc.reported_status end,
                 reported_said = case when u.noted then u.said else rc.reported_said end,
                 reported_by = case when u.noted then $9 else rc.reported_by end,
                 reported_at = case when u.noted then now() else rc.reported_at end,
                 read_at = case when u.read then coalesce(rc.read_at, $10, now()) else rc.read_at end
             from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::boolean[])
                  as u(position, state, action, status, said, noted, read)
             where rc.send_request_id = $1 and rc.position = u.position",
            &[
                &incoming.found.request.0,
                &positions,
                &states,
                &actions,
                &statuses,
                &said,
                &noted,
                &read,
                &incoming.report.reporter,
                &received_at,
            ],
        )
        .await?;
    Ok(())
}

/// The email follows its recipients: one that came back from everybody is not sent. Whoever sent it is told.
async fn follow(
    tenant: &Tenant,
    held: &Held,
    incoming: &IncomingReport,
    moved: &[Moved<'_>],
    by: &Author,
) -> Result<()> {
    let rows = tenant
        .query(
            "select rc.state from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             where r.email_id = $1",
            &[&held.id.0],
        )
        .await?;
    let states: Vec<RecipientState> = rows.iter().map(|row| named(row, "state")).collect::<Result<_>>()?;
    // While somebody is still tried, or is in doubt, the end of that decides.
    let failed = held.state == EmailState::Sent && settled(states.iter().copied()) == EmailState::Failed;
    let state = if failed { EmailState::Failed } else { held.state };
    let row = tenant
        .query_one(
            "update emails set state = $2, version = version + 1, modified_at = now(), modified_by = $3
             where id = $1 returning version",
            &[&held.id.0, &state.as_str(), &by.name()],
        )
        .await?;
    let recipients: Vec<Value> = moved
        .iter()
        .map(|one| json!({"position": one.position, "state": one.state, "reported": one.reported.action}))
        .collect();
    let fields = Fields::new()
        .changed("state", &held.state, &state)
        .set(incoming.report.kind.as_str(), Value::Array(recipients));
    let change = Change { record_type: "email", id: held.id.0, version: row.try_get(0)?, by, fields };
    change::write(tenant, change).await?;

    let bounced: Vec<_> =
        moved.iter().filter(|one| one.was != one.state && one.state == RecipientState::Bounced).collect();
    if let Some(first) = bounced.first() {
        let count = states.iter().filter(|state| **state == RecipientState::Bounced).count();
        let alert = NewAlert {
            kind: AlertKind::RecipientBounced,
            subject: Subject::Email(held.id),
            detail: String::new(),
            parameters: json!({
                "reporter": incoming.report.reporter.as_deref().unwrap_or("further on"),
                "bounced": count,
                "recipients": states.len(),
            }),
            server_said: first.reported.said.clone(),
        };
        alert::raise(tenant, &alert).await?;
    }
    Ok(())
}

//! What becomes of an email after a server took it: reports find the email they speak of, move the recipients that were
//! accepted, and end the doubt about one that may have left. No report makes anything be sent again, and none reaches
//! another mailbox's email.

mod doubt;
mod find;
mod follow;
mod read;

pub use find::{Found, find};
pub use read::{StoredReport, of_email, raw};

pub(super) use doubt::settle_doubt;

use bytes::Bytes;
use jiff::Timestamp;
use model::email::EmailState;
use model::id::{MailboxId, ReportId};
use model::identity::Identity;
use model::report::{Report, ReportedRecipient};
use serde_json::{Value, json};

use super::hold;
use crate::blob::{self, BlobId};
use crate::change::Author;
use crate::incoming::Raw;
use crate::row::wide;
use crate::{Result, Tenant};
use follow::{Told, follow, recipients};

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
    if held.state == EmailState::Unknown && settle_doubt(tenant, held.id, by).await?.is_some() {
        return Ok(true);
    }
    let mut recipients = recipients(tenant, incoming.found.request).await?;
    let told = Told {
        kind: incoming.report.kind,
        reporter: incoming.report.reporter.clone(),
        received_at,
        recipients: incoming.report.recipients.clone(),
    };
    follow(tenant, &held, incoming.found.request, &mut recipients, &[told], false, by).await?;
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

//! The beginning of a try: Sending, with an attempt that names its recipients. The caller commits it before a byte of
//! the message leaves.

use std::str::FromStr as _;

use bytes::Bytes;
use jiff::Timestamp;
use model::address::EmailAddress;
use model::email::{EmailState, PartyRole};
use model::id::{AttemptId, EmailId, MailboxId, SendRequestId, SessionId};
use model::message::{NamedAddress, OutgoingAttachment, OutgoingMessage};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::withdraw::withdraw;
use super::{hold, set_state};
use crate::blob::{self, BlobId};
use crate::change::Author;
use crate::row::{named, named_if};
use crate::{Error, Result, Tenant};

/// A recipient that the try is for.
#[derive(Clone, PartialEq, Eq)]
pub struct DueRecipient {
    /// Its place in the request, by which its answer is named.
    pub position: i32,
    /// The address for the envelope.
    pub address: EmailAddress,
    /// How it is addressed; Bcc is in the envelope and never in the headers.
    pub role: PartyRole,
    /// How often it was tried before.
    pub attempts: i32,
}

/// Files of up to so many bytes together are read when a try begins; larger ones stay where they are until they leave.
pub const FILES_AT_ONCE: u64 = 1024 * 1024;

/// The content of a file that is read when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Where it is: [`blob::chunk`].
    pub blob: BlobId,
    /// Its bytes.
    pub size: u64,
}

/// A try that has begun.
pub struct Attempt {
    /// Which.
    pub id: AttemptId,
    /// Of which email.
    pub email: EmailId,
    /// The email's version since the try began.
    pub version: i64,
    /// Under which request.
    pub request: SendRequestId,
    /// The message to build.
    pub message: OutgoingMessage,
    /// The contents of its attachments, in their order, when they are too large to be in the message, where their bytes
    /// are empty then. None of them otherwise.
    pub stored: Vec<StoredFile>,
    /// Whom it goes to now.
    pub recipients: Vec<DueRecipient>,
    /// Whether the sender wants to be told that it was delivered.
    pub delivery_receipt_requested: bool,
}

/// Begins a try of a pending send; `None` when it is no longer pending or nobody is due, or another email of the
/// mailbox is in Sending. Whoever it rests on must still be allowed to send from the mailbox: else it is taken back, with
/// an alert. The caller holds the fence of the claim, and commits either way.
pub async fn begin_attempt(
    tenant: &Tenant,
    mailbox: MailboxId,
    claim: i64,
    session: SessionId,
    email: EmailId,
    by: &Author,
) -> Result<Option<Attempt>> {
    let held = hold(tenant, email, None).await?;
    if held.state != EmailState::PendingSend || held.mailbox != Some(mailbox) {
        return Ok(None);
    }
    // What does not need each other's answers is asked in one round trip, here and below: a mailbox sends one message
    // after the other, so every round trip is time in which nothing is sent.
    let (busy, request, recipients, content, parties, files) = tokio::try_join!(
        busy(tenant, mailbox),
        open_request(tenant, email),
        due_recipients(tenant, email),
        content(tenant, email),
        parties(tenant, email),
        files(tenant, email),
    )?;
    let (None, Some(row)) = (busy, request) else { return Ok(None) };
    if !row.try_get::<_, bool>("permitted")? {
        let reason = "whoever asked for it may no longer send from this mailbox";
        withdraw(tenant, &held, reason, by).await?;
        return Ok(None);
    }
    let request = SendRequestId(row.try_get("id")?);
    if recipients.is_empty() {
        return Ok(None);
    }
    let id: AttemptId = model::clock::new_id();
    let positions: Vec<_> = recipients.iter().map(|recipient| recipient.position).collect();
    let parameters: [&(dyn ToSql + Sync); 5] = [&id.0, &request.0, &positions, &claim, &session.0];
    let attempt = tenant.execute(
        "insert into send_attempts (organization_id, id, send_request_id, recipients, claim, session_id)
         values (current_organization(), $1, $2, $3, $4, $5)",
        &parameters,
    );
    let (_, version) = tokio::try_join!(attempt, set_state(tenant, &held, EmailState::Sending, by))?;
    let parties = parties.iter().map(party).collect::<Result<Vec<_>>>()?;
    let mut message = message(&content, parties, row.try_get("message_id")?, row.try_get("requested_at")?)?;
    let stored = attach(tenant, &mut message, &files).await?;
    let delivery_receipt_requested = content.try_get("delivery_receipt_requested")?;
    Ok(Some(Attempt { id, email, version, request, message, stored, recipients, delivery_receipt_requested }))
}

/// A row when another email of the mailbox is in Sending.
async fn busy(tenant: &Tenant, mailbox: MailboxId) -> Result<Option<Row>> {
    tenant
        .query_opt("select from emails where mailbox_id = $1 and state = 'sending' limit 1", &[&mailbox.0])
        .await
}

async fn open_request(tenant: &Tenant, email: EmailId) -> Result<Option<Row>> {
    tenant
        .query_opt(
            &format!(
                "select r.id, r.message_id, r.requested_at,
                        r.rests_on is null or coalesce({}, false) as permitted
                 from send_requests r
                 join emails e on e.organization_id = r.organization_id and e.id = r.email_id
                 join mailboxes m on m.organization_id = e.organization_id and m.id = e.mailbox_id
                 where r.email_id = $1 and r.ended_at is null and (r.not_before is null or r.not_before <= now())",
                super::permission::may_send("r.rests_on")
            ),
            &[&email.0],
        )
        .await
}

async fn due_recipients(tenant: &Tenant, email: EmailId) -> Result<Vec<DueRecipient>> {
    let rows = tenant
        .query(
            "select rc.position, rc.address, rc.role, rc.attempts from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             where r.email_id = $1 and r.ended_at is null and rc.state in ('waiting', 'deferred')
               and rc.next_try_at <= now() order by rc.position",
            &[&email.0],
        )
        .await?;
    rows.iter().map(recipient).collect()
}

fn recipient(row: &Row) -> Result<DueRecipient> {
    Ok(DueRecipient {
        position: row.try_get("position")?,
        address: address(row)?,
        role: named(row, "role")?,
        attempts: row.try_get("attempts")?,
    })
}

fn address(row: &Row) -> Result<EmailAddress> {
    EmailAddress::from_str(row.try_get("address")?).map_err(|error| Error::Broken(error.to_string()))
}

async fn content(tenant: &Tenant, email: EmailId) -> Result<Row> {
    tenant
        .query_one(
            "select e.subject, e.in_reply_to, e.message_references, e.importance, e.auto_submitted,
                    e.read_receipt_requested, e.delivery_receipt_requested,
                    c.text_body, c.html_body
             from emails e
             join email_copies c on c.organization_id = e.organization_id and c.email_id = e.id
             where e.id = $1",
            &[&email.0],
        )
        .await
}

async fn parties(tenant: &Tenant, email: EmailId) -> Result<Vec<Row>> {
    tenant
        .query(
            "select role, address, name from email_parties where email_id = $1 order by position",
            &[&email.0],
        )
        .await
}

async fn files(tenant: &Tenant, email: EmailId) -> Result<Vec<Row>> {
    tenant
        .query(
            "select a.name, a.content_type, a.content_id, a.inline, a.sha256, a.size from attachments a
             join email_copies c on c.organization_id = a.organization_id and c.id = a.copy_id
             where c.email_id = $1 order by a.position",
            &[&email.0],
        )
        .await
}

fn party(row: &Row) -> Result<(PartyRole, NamedAddress)> {
    let name: String = row.try_get("name")?;
    let party = NamedAddress { name: Some(name).filter(|name| !name.is_empty()), address: address(row)? };
    Ok((named(row, "role")?, party))
}

/// The message as it is to be built, without its attachments.
pub(super) fn message(
    email: &Row,
    parties: Vec<(PartyRole, NamedAddress)>,
    message_id: String,
    date: Timestamp,
) -> Result<OutgoingMessage> {
    let (mut from, mut sender) = (None, None);
    let (mut to, mut cc, mut bcc, mut reply_to) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (role, party) in parties {
        match role {
            PartyRole::From => from = Some(party),
            PartyRole::To => to.push(party),
            PartyRole::Cc => cc.push(party),
            PartyRole::Bcc => bcc.push(party),
            PartyRole::ReplyTo => reply_to.push(party),
            PartyRole::Sender => sender = Some(party),
        }
    }
    let from = from.ok_or_else(|| Error::Broken("a pending send without a sender".to_owned()))?;
    let mut message = OutgoingMessage::new(from, message_id, date);
    message.sender = sender;
    message.to = to;
    message.cc = cc;
    message.bcc = bcc;
    message.reply_to = reply_to;
    message.subject = email.try_get("subject")?;
    message.text = email.try_get("text_body")?;
    message.html = email.try_get("html_body")?;
    message.in_reply_to = email.try_get("in_reply_to")?;
    message.references = email.try_get("message_references")?;
    message.auto_submitted = email.try_get::<_, Option<String>>("auto_submitted")?.is_some();
    message.request_read_receipt = email.try_get("read_receipt_requested")?;
    message.importance = named_if(email, "importance")?.unwrap_or_default();
    Ok(message)
}

/// Names its files, and reads their contents when they are small together.
async fn attach(tenant: &Tenant, message: &mut OutgoingMessage, files: &[Row]) -> Result<Vec<StoredFile>> {
    let mut stored = Vec::with_capacity(files.len());
    for row in files {
        let size = u64::try_from(row.try_get::<_, i64>("size")?).unwrap_or(0);
        stored.push(StoredFile { blob: BlobId::from_column(row.try_get("sha256")?)?, size });
        message.attachments.push(OutgoingAttachment {
            name: row.try_get("name")?,
            content_type: row.try_get("content_type")?,
            bytes: Bytes::new(),
            inline_id: row.try_get("content_id")?,
        });
    }
    if stored.iter().map(|file| file.size).sum::<u64>() > FILES_AT_ONCE {
        return Ok(stored);
    }
    for (attachment, file) in message.attachments.iter_mut().zip(stored) {
        attachment.bytes = blob::read(tenant, file.blob)
            .await?
            .ok_or_else(|| Error::Broken("an attachment whose content is not stored".to_owned()))?;
    }
    Ok(Vec::new())
}

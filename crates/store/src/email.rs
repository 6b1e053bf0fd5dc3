//! Emails as people read them. A reader sees the copy of the own or the queue's receipt and no other, so that a forger
//! reads only the forgery; administrators see everything but bodies, and opening one is written down.

mod list;
mod read;

use bytes::Bytes;
use jiff::Timestamp;
use model::automatic::Automatic;
use model::email::{Direction, EmailState, PartyRole};
use model::id::{AttachmentId, CopyId, EmailId, MailboxId, UserId};
use model::mailbox::Owner;
use uuid::Uuid;

use crate::blob::BlobId;

pub use list::{EmailFilter, list};
pub use read::{attached_bytes, by_message_id, get, known_message_ids, open_copy};

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person: the own emails, and those of the queues the person is a member of.
    User(UserId),
    /// An administrator or a service with the right to: all emails of the organization.
    Everything,
}

impl Reader {
    pub(crate) fn user(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id.0),
            Self::Everything => None,
        }
    }
}

/// An email without its body.
#[derive(Clone)]
pub struct Email {
    /// Which.
    pub id: EmailId,
    /// Which way it travelled.
    pub direction: Direction,
    /// Where it stands.
    pub state: EmailState,
    /// Without angle brackets.
    pub message_id: Option<String>,
    /// Without angle brackets.
    pub in_reply_to: Option<String>,
    /// The oldest first, without angle brackets.
    pub references: Vec<String>,
    /// The decoded subject.
    pub subject: String,
    /// When its sender says it was written, or when it was sent.
    pub sent_at: Option<Timestamp>,
    /// When the first mailbox got it.
    pub received_at: Option<Timestamp>,
    /// Whose record it is.
    pub owner: Option<Owner>,
    /// Outgoing: whose mailbox sends it.
    pub mailbox: Option<MailboxId>,
    /// The header of the same name.
    pub auto_submitted: Option<String>,
    /// The header of the same name.
    pub precedence: Option<String>,
    /// The header of the same name.
    pub list_id: Option<String>,
    /// The header of the same name.
    pub return_path: Option<String>,
    /// What kind of automatic mail it is; none for what a person wrote.
    pub automatic: Option<Automatic>,
    /// X-Auto-Response-Suppress: which automatic answers its sender does not want.
    pub response_suppressed: Option<String>,
    /// How private its sender calls it.
    pub sensitivity: Option<String>,
    /// How important its sender calls it.
    pub importance: Option<String>,
    /// What is odd about it.
    pub warnings: Vec<String>,
    /// Whether it may have been sent twice.
    pub maybe_duplicate: bool,
    /// Whether its sender asks the readers' programs to say that it was read.
    pub read_receipt_requested: bool,
    /// Whether its sender asks the servers to say that it was delivered.
    pub delivery_receipt_requested: bool,
    /// What it is about.
    pub regarding: Option<(String, Uuid)>,
    /// The host application's id.
    pub external_id: Option<String>,
    /// Who made the record.
    pub created_by: String,
    /// Who changed it last.
    pub modified_by: String,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
    /// Everybody in its headers, in their order.
    pub parties: Vec<EmailParty>,
    /// Which mailboxes got it; empty in a list.
    pub receipts: Vec<Receipt>,
}

/// Somebody in the headers of an email.
#[derive(Clone)]
pub struct EmailParty {
    /// As what.
    pub role: PartyRole,
    /// The address as written.
    pub address: String,
    /// The name as written.
    pub name: String,
    /// Whom the address belonged to when the record was made.
    pub party: Option<(String, Uuid)>,
}

/// A mailbox that got an email.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its name, also when it is gone.
    pub mailbox_name: String,
    /// Which copy.
    pub copy: CopyId,
    /// When.
    pub received_at: Option<Timestamp>,
}

/// What a reader sees of an email's content.
#[derive(Clone)]
pub struct EmailCopy {
    /// Which.
    pub id: CopyId,
    /// The text to read.
    pub text: Option<String>,
    /// The HTML as it came, not sanitized.
    pub html: Option<String>,
    /// The raw message, for one that came in.
    pub raw: Option<RawMessage>,
    /// The attachments, in their order.
    pub attachments: Vec<Attachment>,
    /// The other copies that the reader may open.
    pub others: Vec<CopyId>,
}

/// A raw message as one reader got it: the own header before the body that readers share.
#[derive(Clone)]
pub struct RawMessage {
    /// The stored message; its body is this reader's, its header perhaps another's.
    pub blob: BlobId,
    /// Its size in bytes.
    pub size: u64,
    /// Where its body begins.
    pub header_size: u64,
    /// What stands in the place of its header for this reader; none when it is the reader's own.
    pub header: Option<Bytes>,
}

impl RawMessage {
    /// The size of what this reader gets, in bytes.
    pub fn reader_size(&self) -> u64 {
        match &self.header {
            Some(header) => self.size.saturating_sub(self.header_size) + header.len() as u64,
            None => self.size,
        }
    }
}

/// A file of a copy; its content is read by `blob::chunk`.
#[derive(Clone)]
pub struct Attachment {
    /// Which.
    pub id: AttachmentId,
    /// The file name.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Content-ID without angle brackets.
    pub content_id: Option<String>,
    /// Meant to be shown within the body.
    pub inline: bool,
    /// In bytes.
    pub size: i64,
    /// Its content.
    pub blob: BlobId,
}

/// The columns that [`read::email`] reads, of `emails e`.
const COLUMNS: &str = "e.id, e.direction, e.state, e.message_id, e.in_reply_to, e.message_references, e.subject, e.sent_at,
    e.received_at, e.owner_kind, e.owner_id, e.mailbox_id, e.auto_submitted, e.precedence, e.list_id, e.return_path,
    e.automatic, e.response_suppressed,
    e.sensitivity, e.importance, e.warnings, e.maybe_duplicate, e.read_receipt_requested, e.delivery_receipt_requested, e.regarding_type, e.regarding_id, e.external_id,
    e.created_by, e.modified_by, e.version, e.created_at, e.modified_at";

/// A condition on `emails e`: everything when the parameter is null, else what that user may see.
pub(crate) fn visible(parameter: &str) -> String {
    format!(
        "({parameter}::uuid is null
          or (e.owner_kind = 'user' and e.owner_id = {parameter})
          or e.created_by = 'user:' || {parameter}::text
          or (e.owner_kind = 'queue' and exists (
              select from queue_members q where q.organization_id = e.organization_id and q.queue_id = e.owner_id
                 and q.user_id = {parameter}))
          or exists (
              select from receipts r where r.organization_id = e.organization_id and r.email_id = e.id and {})
          or exists (
              select from mailboxes m
              where m.organization_id = e.organization_id and m.id = e.mailbox_id and e.created_at >= m.mapped_at
                and {}))",
        own_receipt(parameter),
        own_mailbox(parameter)
    )
}

/// A condition on a party `p` in Bcc: whether the reader may know of it.
fn sees_bcc(parameter: &str) -> String {
    format!(
        "({parameter}::uuid is null
          or exists (select from emails b where b.organization_id = p.organization_id and b.id = p.email_id
                        and b.direction = 'outgoing')
          or exists (select from email_parties f where f.organization_id = p.organization_id
                        and f.email_id = p.email_id and f.role = 'from' and f.party_type = 'user'
                        and f.party_id = {parameter})
          or exists (select from mailboxes m where m.organization_id = p.organization_id
                        and m.address_key = p.address_key and {})
          or (p.party_type = 'user' and p.party_id = {parameter})
          or (p.party_type = 'queue' and exists (
              select from queue_members q where q.organization_id = p.organization_id and q.queue_id = p.party_id
                 and q.user_id = {parameter})))",
        own_mailbox(parameter)
    )
}

/// A condition on `receipts r`: got by a mailbox that was the user's own then, or that of a queue of the user. Where the
/// mailbox is now, or whether it still is, changes nothing.
fn own_receipt(parameter: &str) -> String {
    format!(
        "((r.owner_kind = 'user' and r.owner_id = {parameter})
          or (r.owner_kind = 'queue' and exists (
              select from queue_members q where q.organization_id = r.organization_id and q.queue_id = r.owner_id
                 and q.user_id = {parameter})))"
    )
}

/// A condition on `mailboxes m`: the user's own, or one of a queue the user is a member of.
pub(crate) fn own_mailbox(parameter: &str) -> String {
    format!(
        "(m.user_id = {parameter} or exists (
            select from queue_members q where q.organization_id = m.organization_id and q.queue_id = m.queue_id
               and q.user_id = {parameter}))"
    )
}

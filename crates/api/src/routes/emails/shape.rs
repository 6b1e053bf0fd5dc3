//! Emails as they travel, without their bodies.

use jiff::Timestamp;
use model::automatic::Automatic;
use model::email::{Direction, EmailState, PartyRole, RecipientState, SendAnswer};
use model::message::meaning;
use model::report::{ReportKind, ReportedAction};
use serde::Serialize;
use store::email;
use store::outgoing::report::StoredReport;
use store::outgoing::{self, SendState};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::owner::OwnerReference;
use crate::schema;

/// An email in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct EmailSummary {
    /// Which.
    id: Uuid,
    /// Which way it travelled.
    #[schema(value_type = schema::Direction)]
    direction: Direction,
    /// Where it stands.
    #[schema(value_type = schema::EmailState)]
    state: EmailState,
    /// The subject.
    subject: String,
    /// Everybody in its headers, in their order.
    parties: Vec<Correspondent>,
    /// Outgoing: the mailbox that sends it.
    from_mailbox: Option<Uuid>,
    /// Without angle brackets.
    message_id: Option<String>,
    /// When its sender says it was written, or when it was sent.
    sent_at: Option<Timestamp>,
    /// When the first mailbox got it.
    received_at: Option<Timestamp>,
    /// Whose record it is.
    owner: Option<OwnerReference>,
    /// What kind of automatic mail it is; null for what a person wrote.
    #[schema(value_type = Option<schema::Automatic>)]
    automatic: Option<Automatic>,
    /// What is odd about it.
    warnings: Vec<Warning>,
    /// Whether it may have been sent twice.
    maybe_duplicate: bool,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
}

/// Something odd about an email.
#[derive(Serialize, ToSchema)]
pub(super) struct Warning {
    /// Its name, such as `message_id_reused`.
    name: String,
    /// What it means to whoever reads the email, and what can be done.
    meaning: &'static str,
}

impl Warning {
    fn new(name: String) -> Self {
        Self { meaning: meaning(&name), name }
    }
}

/// Somebody in the headers of an email.
#[derive(Serialize, ToSchema)]
#[schema(as = Party)]
struct Correspondent {
    /// As what.
    #[schema(value_type = schema::PartyRole)]
    role: PartyRole,
    /// The address as written.
    address: String,
    /// The name as written.
    name: String,
    /// Whom the address belonged to when the record was made.
    party: Option<RecordReference>,
}

/// A record of any kind.
#[derive(Serialize, ToSchema)]
struct RecordReference {
    /// The noun, such as `contact`.
    r#type: String,
    /// Which.
    id: Uuid,
}

impl From<(String, Uuid)> for RecordReference {
    fn from((r#type, id): (String, Uuid)) -> Self {
        Self { r#type, id }
    }
}

/// One email, without its body.
#[derive(Serialize, ToSchema)]
pub(super) struct Email {
    #[serde(flatten)]
    summary: EmailSummary,
    /// The Message-ID this one answers, without angle brackets.
    in_reply_to: Option<String>,
    /// The ids of the conversation, the oldest first, without angle brackets.
    references: Vec<String>,
    /// The header of the same name: `no` or missing means that a person wrote it.
    auto_submitted: Option<String>,
    /// The header of the same name.
    precedence: Option<String>,
    /// The header of the same name.
    list_id: Option<String>,
    /// The header of the same name.
    return_path: Option<String>,
    /// X-Auto-Response-Suppress: which automatic answers its sender does not want.
    response_suppressed: Option<String>,
    /// How private its sender calls it.
    sensitivity: Option<String>,
    /// How important its sender calls it.
    importance: Option<String>,
    /// Whether its sender asks the readers' programs to say that it was read.
    read_receipt_requested: bool,
    /// Whether its sender asks the servers to say that it was delivered.
    delivery_receipt_requested: bool,
    /// What it is about.
    regarding: Option<RecordReference>,
    /// The mailboxes that got it.
    receipts: Vec<Receipt>,
    /// The latest send request; null when nobody asked for it to be sent.
    sending: Option<Sending>,
    /// The send requests before the latest, the youngest first.
    earlier_sendings: Vec<Sending>,
    /// What was reported about it since it was sent, the oldest first.
    reports: Vec<Report>,
    /// Who made the record, such as `user:…`.
    created_by: String,
    /// Who changed it last.
    modified_by: String,
}

/// A mailbox that got an email.
#[derive(Serialize, ToSchema)]
struct Receipt {
    /// Which mailbox.
    mailbox: Uuid,
    /// Its name.
    mailbox_name: String,
    /// Which copy: receipts that name different ones got different contents.
    copy: Uuid,
    /// When.
    received_at: Option<Timestamp>,
}

/// One send request of an email.
#[derive(Serialize, ToSchema)]
struct Sending {
    /// Which.
    request: Uuid,
    /// Its Message-ID, without angle brackets.
    message_id: String,
    /// Who asked, such as `user:…`.
    requested_by: String,
    /// The user on whose right it is sent; null for a service that may send as anybody.
    person: Option<Uuid>,
    /// When.
    requested_at: Timestamp,
    /// Not to leave before this.
    not_before: Option<Timestamp>,
    /// When it was taken back.
    canceled_at: Option<Timestamp>,
    /// When nobody waited any more.
    ended_at: Option<Timestamp>,
    /// Each recipient.
    recipients: Vec<Recipient>,
    /// Each try, the oldest first.
    attempts: Vec<Attempt>,
}

/// Where one recipient stands.
#[derive(Serialize, ToSchema)]
#[schema(as = SendRecipient)]
struct Recipient {
    /// The address.
    address: String,
    /// How it is addressed.
    #[schema(value_type = schema::PartyRole)]
    role: PartyRole,
    /// Where it stands.
    #[schema(value_type = schema::RecipientState)]
    state: RecipientState,
    /// How often it was tried.
    attempts: i32,
    /// When it is tried next; null once it is decided.
    next_try_at: Option<Timestamp>,
    /// The server's last reply code.
    reply_code: Option<i32>,
    /// The server's last enhanced status code (RFC 3463).
    enhanced_code: Option<String>,
    /// The server's last words.
    server_said: Option<String>,
    /// What a server further on, or the reader's program, reported last; null when nobody did.
    report: Option<RecipientReport>,
    /// When the reader's program says that it was read.
    read_at: Option<Timestamp>,
}

/// What was reported of a recipient that a server had accepted.
#[derive(Serialize, ToSchema)]
struct RecipientReport {
    /// What was done.
    #[schema(value_type = schema::ReportedAction)]
    action: ReportedAction,
    /// The status code (RFC 3463).
    status: Option<String>,
    /// The words of the server that reports.
    said: Option<String>,
    /// Which server or program that is.
    reporter: Option<String>,
    /// When it was read here.
    at: Option<Timestamp>,
}

/// A report about an email that was sent: it joins the email and stands in nobody's list.
#[derive(Serialize, ToSchema)]
struct Report {
    /// Which; its raw message is at `/emails/{id}/reports/{report}/raw`.
    id: Uuid,
    /// Under which send request the email had left.
    request: Uuid,
    /// A delivery report or a read receipt.
    #[schema(value_type = schema::ReportKind)]
    kind: ReportKind,
    /// Which server or program reports.
    reporter: Option<String>,
    /// What it says: a list of `{address, original, action, status, said}`. It is a stranger's word; what was believed of
    /// it stands with the recipients.
    recipients: serde_json::Value,
    /// The size of its raw message in bytes.
    raw_size: i64,
    /// When the mail server received it.
    received_at: Option<Timestamp>,
}

impl From<StoredReport> for Report {
    fn from(report: StoredReport) -> Self {
        Self {
            id: report.id.0,
            request: report.request.0,
            kind: report.kind,
            reporter: report.reporter,
            recipients: report.recipients,
            raw_size: report.raw_size,
            received_at: report.received_at,
        }
    }
}

/// One try to hand an email to a server.
#[derive(Serialize, ToSchema)]
#[schema(as = SendAttempt)]
struct Attempt {
    /// When it began.
    started_at: Timestamp,
    /// When the answer was written down.
    answered_at: Option<Timestamp>,
    /// How it ended; null while it is under way.
    #[schema(value_type = Option<schema::SendAnswer>)]
    answer: Option<SendAnswer>,
    /// The server's words.
    server_said: Option<String>,
}

impl From<email::Email> for EmailSummary {
    fn from(email: email::Email) -> Self {
        Self {
            id: email.id.0,
            direction: email.direction,
            state: email.state,
            subject: email.subject,
            parties: email
                .parties
                .into_iter()
                .map(|party| Correspondent {
                    role: party.role,
                    address: party.address,
                    name: party.name,
                    party: party.party.map(RecordReference::from),
                })
                .collect(),
            from_mailbox: email.mailbox.map(|id| id.0),
            message_id: email.message_id,
            sent_at: email.sent_at,
            received_at: email.received_at,
            owner: email.owner.map(OwnerReference::from),
            automatic: email.automatic,
            warnings: email.warnings.into_iter().map(Warning::new).collect(),
            maybe_duplicate: email.maybe_duplicate,
            external_id: email.external_id,
            version: email.version,
            created_at: email.created_at,
            modified_at: email.modified_at,
        }
    }
}

impl Email {
    /// With its send requests and what was reported about it.
    pub(super) fn new(
        mut email: email::Email,
        sending: Option<SendState>,
        earlier: Vec<SendState>,
        reports: Vec<StoredReport>,
    ) -> Self {
        let receipts = std::mem::take(&mut email.receipts)
            .into_iter()
            .map(|receipt| Receipt {
                mailbox: receipt.mailbox.0,
                mailbox_name: receipt.mailbox_name,
                copy: receipt.copy.0,
                received_at: receipt.received_at,
            })
            .collect();
        Self {
            in_reply_to: email.in_reply_to.take(),
            references: std::mem::take(&mut email.references),
            auto_submitted: email.auto_submitted.take(),
            precedence: email.precedence.take(),
            list_id: email.list_id.take(),
            return_path: email.return_path.take(),
            response_suppressed: email.response_suppressed.take(),
            sensitivity: email.sensitivity.take(),
            importance: email.importance.take(),
            regarding: email.regarding.take().map(RecordReference::from),
            receipts,
            sending: sending.map(Sending::from),
            earlier_sendings: earlier.into_iter().map(Sending::from).collect(),
            read_receipt_requested: email.read_receipt_requested,
            delivery_receipt_requested: email.delivery_receipt_requested,
            reports: reports.into_iter().map(Report::from).collect(),
            created_by: named_to_readers(std::mem::take(&mut email.created_by)),
            modified_by: named_to_readers(std::mem::take(&mut email.modified_by)),
            summary: email.into(),
        }
    }
}

impl From<outgoing::RecipientReport> for RecipientReport {
    fn from(report: outgoing::RecipientReport) -> Self {
        Self {
            action: report.action,
            status: report.status,
            said: report.said,
            reporter: report.reporter,
            at: report.at,
        }
    }
}

impl From<SendState> for Sending {
    fn from(state: SendState) -> Self {
        let waits = |state| matches!(state, RecipientState::Waiting | RecipientState::Deferred);
        Self {
            request: state.request.0,
            message_id: state.message_id,
            requested_by: state.requested_by,
            person: state.rests_on.map(|user| user.0),
            requested_at: state.requested_at,
            not_before: state.not_before,
            canceled_at: state.canceled_at,
            ended_at: state.ended_at,
            recipients: state
                .recipients
                .into_iter()
                .map(|recipient| Recipient {
                    address: recipient.address,
                    role: recipient.role,
                    state: recipient.state,
                    attempts: recipient.attempts,
                    next_try_at: Some(recipient.next_try_at).filter(|_| waits(recipient.state)),
                    reply_code: recipient.reply_code,
                    enhanced_code: recipient.enhanced_code,
                    server_said: recipient.server_said,
                    report: recipient.report.map(RecipientReport::from),
                    read_at: recipient.read_at,
                })
                .collect(),
            attempts: state
                .attempts
                .into_iter()
                .map(|attempt| Attempt {
                    started_at: attempt.started_at,
                    answered_at: attempt.answered_at,
                    answer: attempt.answer,
                    server_said: attempt.server_said,
                })
                .collect(),
        }
    }
}

/// A cycle is named by its mailbox, which may be that of a reader in Bcc: readers are told that it was a cycle and no more.
fn named_to_readers(author: String) -> String {
    match author.split_once(':') {
        Some((cycle @ "cycle", _)) => cycle.to_owned(),
        _ => author,
    }
}

//! What a person asked for and cannot have: the field, the cause and the remedy. A refusal is never a fault of ours,
//! and it never carries a secret, an address, a subject or a body.

use jiff::Timestamp;
use model::email::EmailState;
use model::id::MailboxId;
use model::workload::Workload;
use uuid::Uuid;

/// Why a request was refused. `Display` is a sentence for people, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record changed since the caller read it (If-Match).
    #[error("the {what} is at version {present}, not {expected}: read it again, then repeat the change")]
    Changed {
        /// The noun.
        what: &'static str,
        /// What the caller named.
        expected: i64,
        /// What is stored.
        present: i64,
    },
    /// There is no such record in the organization.
    #[error(
        "there is no {what} with this id in the organization: check the id, or list the {what}s to find it"
    )]
    Unknown {
        /// The noun.
        what: &'static str,
        /// The field that named it.
        field: &'static str,
    },
    /// A value that must be unique in the organization is in use.
    #[error(
        "another {what} of the organization already has this {field}: choose another, or change that {what} first"
    )]
    Taken {
        /// The noun.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
    /// Another record of the kind has the host application's id.
    #[error(
        "the {what} `{name}` ({id}) already has this external_id: change that {what}, or give its external_id up first"
    )]
    ExternalIdTaken {
        /// The noun.
        what: &'static str,
        /// Which has it.
        id: Uuid,
        /// Its name.
        name: String,
    },
    /// The organization would have nobody left to administer it.
    #[error(
        "the organization has no other active administrator: make another user one first, with the role `admin`"
    )]
    LastAdministrator,
    /// Addresses of the type are there.
    #[error("{addresses} addresses are of this type: remove them first, with `\"removed\": true`")]
    TypeInUse {
        /// How many.
        addresses: i64,
    },
    /// A value outside its bounds or shape.
    #[error("{cause}: {remedy}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// A user or queue has at most one mailbox.
    #[error(
        "{owner} already has the mailbox `{mailbox_name}`, and a {kind} has at most one: \
         use that mailbox, or map it to another owner first"
    )]
    OwnerHasMailbox {
        /// `user` or `queue`.
        kind: &'static str,
        /// The owner's name.
        owner: String,
        /// Which mailbox.
        mailbox: MailboxId,
        /// Its name.
        mailbox_name: String,
    },
    /// A mailbox with this address or login exists in the organization.
    #[error(
        "the mailbox `{name}`{} already has this {field}: use that mailbox, or change it first",
        owner.as_ref().map(|owner| format!(" of {owner}")).unwrap_or_default()
    )]
    MailboxTaken {
        /// `address` or `incoming_login`.
        field: &'static str,
        /// Which.
        mailbox: MailboxId,
        /// Its name.
        name: String,
        /// The present owner's name, if it has one.
        owner: Option<String>,
    },
    /// A mailbox with this address or login exists somewhere else in the installation; where is not said.
    #[error(
        "this {field} is already synchronized by this installation, outside of your organization: \
         use another mailbox, or ask the operator"
    )]
    MailboxTakenElsewhere {
        /// `address` or `incoming_login`.
        field: &'static str,
    },
    /// The mailbox belongs to somebody; moving it needs a word that names them.
    #[error(
        "the mailbox `{mailbox}` belongs to {owner}: to move it, repeat the request with `confirm_owner` set to the id \
         of {owner}; its password and test are then forgotten and it waits for approval again"
    )]
    OwnerNotConfirmed {
        /// Its name.
        mailbox: String,
        /// The present owner's name.
        owner: String,
    },
    /// The profile still serves mailboxes.
    #[error(
        "{mailboxes} {} the profile `{name}`: move {} to another profile first (`lockstep mailbox list --profile`, \
         `lockstep mailbox update --profile`), or remove {}",
        if *mailboxes == 1 { "mailbox still uses" } else { "mailboxes still use" },
        if *mailboxes == 1 { "it" } else { "them" },
        if *mailboxes == 1 { "it" } else { "them" },
    )]
    ProfileInUse {
        /// Its name.
        name: String,
        /// How many.
        mailboxes: i64,
    },
    /// The mailbox cannot be enabled yet.
    #[error("{workload} of the mailbox `{mailbox}` cannot be enabled: {cause}")]
    NotReady {
        /// Its name.
        mailbox: String,
        /// Of which workload.
        workload: Workload,
        /// What is missing, with the remedy.
        cause: &'static str,
    },
    /// The email has nobody to go to.
    #[error("the email has no recipient: add one to `to`, `cc` or `bcc`, then send it again")]
    NoRecipients,
    /// A server has accepted it for everybody whom the email names.
    #[error(
        "everybody the email names was accepted for already: add a recipient, or ask for it to go to all of them \
         again with `recipients` set to `all`"
    )]
    EverybodyHasIt,
    /// The email names no mailbox to send from.
    #[error("the email has no sending mailbox: set `from` to a mailbox, then send it again")]
    NoSender,
    /// The sender's mailbox does not send.
    #[error("the mailbox `{mailbox}` cannot send: {cause}")]
    SenderNotReady {
        /// Its name.
        mailbox: String,
        /// What is missing, with the remedy.
        cause: &'static str,
    },
    /// The caller may not send from there.
    #[error("you may not send from the mailbox `{mailbox}`: {remedy}")]
    NotYourSender {
        /// Its name.
        mailbox: String,
        /// Who may change that.
        remedy: String,
    },
    /// What recipients have got stays as it was sent.
    #[error(
        "some have got this email as it is, so nothing but its recipients can be changed: \
         write a new email, or change `to`, `cc` and `bcc` alone"
    )]
    AlreadyGot,
    /// Something that concerns more people than the caller.
    #[error("{what} is not for a user to decide about: ask an administrator")]
    ForAdministrators {
        /// What, such as `an alert about a server`.
        what: &'static str,
    },
    /// The files of an email are larger together than a message may be.
    #[error(
        "with this file the email's files have {} MB, and an email may have {megabytes} MB (`max_message_mb`): send a \
         smaller file or a link to it, or let an administrator raise the setting `max_message_mb`",
        together.div_ceil(1024 * 1024)
    )]
    FilesTooLarge {
        /// In bytes.
        together: u64,
        /// What is allowed.
        megabytes: u64,
    },
    /// A place in the change feed that lies before what is kept.
    #[error(
        "changes are kept for {days} days, and what came after this place in the feed is partly gone: \
         read the records anew, then follow from `after=now`"
    )]
    ChangesForgotten {
        /// The setting.
        days: i64,
    },
    /// A place in the change feed of another database.
    #[error(
        "the database was restored or adopted since this place in the feed was given: \
         read the records anew, then follow from `after=now`"
    )]
    FeedRestarted,
    /// The database was restored on another server and its feed has no order yet.
    #[error(
        "the database was restored on another server, and its change feed has to be put in order: \
         the operator runs `lockstep migrate`, then ask again"
    )]
    FeedNotMended,
    /// The email is in the wrong state for it.
    #[error("an email that is {state} cannot be {verb}: {remedy}")]
    WrongState {
        /// Where it stands.
        state: EmailState,
        /// What was asked, as a participle.
        verb: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl Refusal {
    /// The field of the request that it is about.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Changed { .. } => Some("version"),
            Self::ExternalIdTaken { .. } => Some("external_id"),
            Self::LastAdministrator => Some("role"),
            Self::TypeInUse { .. } => Some("name"),
            Self::Unknown { field, .. }
            | Self::Taken { field, .. }
            | Self::Invalid { field, .. }
            | Self::MailboxTaken { field, .. }
            | Self::MailboxTakenElsewhere { field } => Some(field),
            Self::OwnerHasMailbox { .. } => Some("owner"),
            Self::OwnerNotConfirmed { .. } => Some("confirm_owner"),
            Self::NotReady { .. } => Some("enabled"),
            Self::NoRecipients | Self::EverybodyHasIt => Some("to"),
            Self::NoSender | Self::SenderNotReady { .. } | Self::NotYourSender { .. } => Some("from"),
            Self::FilesTooLarge { .. } => Some("attachment"),
            Self::WrongState { .. } | Self::AlreadyGot => Some("state"),
            Self::ChangesForgotten { .. } | Self::FeedRestarted => Some("after"),
            Self::ProfileInUse { .. } | Self::ForAdministrators { .. } | Self::FeedNotMended => None,
        }
    }

    pub(crate) fn invalid(field: &'static str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Invalid { field, cause: cause.into(), remedy: remedy.into() }
    }
}

/// Compares what the caller read with what is stored; `None` means the caller did not say.
pub(crate) fn check_version(what: &'static str, expected: Option<i64>, present: i64) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != present => Err(Refusal::Changed { what, expected, present }),
        _ => Ok(()),
    }
}

/// Checks the length of a name or text in characters.
pub(crate) fn check_length(
    field: &'static str,
    text: &str,
    least: usize,
    most: usize,
) -> Result<(), Refusal> {
    let length = text.chars().count();
    if (least..=most).contains(&length) && !text.contains('\0') {
        return Ok(());
    }
    let cause = format!("`{field}` has {length} characters");
    Err(Refusal::invalid(field, cause, format!("give it {least} to {most}, without NUL")))
}

/// A text of one line: a name that stands in a header, a login that stands in a command. U+2028 and U+2029 end a line for
/// some readers.
pub(crate) fn check_line(field: &'static str, text: &str, least: usize, most: usize) -> Result<(), Refusal> {
    check_length(field, text, least, most)?;
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    if !text.chars().any(breaks) {
        return Ok(());
    }
    let cause = format!("`{field}` has a line break or another control character");
    Err(Refusal::invalid(field, cause, "write it as one line of text"))
}

/// The host application's id of a record. It stands in an index, which holds no longer one.
pub(crate) fn check_external_id(id: Option<&String>) -> Result<(), Refusal> {
    id.map_or(Ok(()), |id| check_length("external_id", id, 1, 255))
}

/// A time that a person gave. Postgres's calendar begins later than ours, and nobody means a time before the common era.
pub(crate) fn check_time(field: &'static str, time: Option<Timestamp>) -> Result<(), Refusal> {
    const YEAR_ONE: i64 = -62_135_596_800;
    match time {
        Some(time) if time.as_second() < YEAR_ONE => {
            let cause = format!("`{field}` lies before the year 1");
            Err(Refusal::invalid(field, cause, "give a time such as 2025-01-31T00:00:00Z"))
        }
        _ => Ok(()),
    }
}

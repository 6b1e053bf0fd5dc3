//! How a cycle ends, and what can end it early.

use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::failure::{Failure, FailureScope};
use serde_json::json;
use store::mailbox::MailboxForCycle;
use throttle::Denied;

use crate::failure::{self, Explained};

/// How a cycle ended, with what its alert says when it failed.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What decides when it is due again.
    pub outcome: Outcome,
    /// What went wrong, for people.
    pub explained: Option<Explained>,
    /// Whether the server did its part, whatever came of single items.
    pub server_worked: bool,
}

impl Ending {
    /// It ran to its end.
    pub(crate) fn done(items: u32, cut_off: bool) -> Self {
        Self { outcome: Outcome::Done { items, cut_off }, explained: None, server_worked: true }
    }

    /// Nothing needed a connection.
    pub fn idle() -> Self {
        Self { server_worked: false, ..Self::done(0, false) }
    }

    /// One of our own parts is away.
    pub fn ours() -> Self {
        Self { outcome: Outcome::Failed(Failure::ours()), explained: None, server_worked: false }
    }

    /// There was no lease.
    pub fn denied(denied: &Denied) -> Self {
        let (delay, reason) = match denied {
            Denied::NoCapacity { retry_after } => (*retry_after, DueReason::NoCapacity),
            Denied::HeldBack { retry_after, .. } => (*retry_after, DueReason::ServerAsked),
            Denied::Away { .. } | Denied::Refused { .. } => return Self::ours(),
        };
        Self { outcome: Outcome::Snooze { delay, reason }, explained: None, server_worked: false }
    }

    /// The conversation failed.
    pub(crate) fn failed(error: &mail::Error, mailbox: &MailboxForCycle) -> Self {
        let explained = failure::explained(error, mailbox.endpoint());
        let outcome = failure::outcome(&explained.failure, failure::is_login_delay(error));
        Self { outcome, explained: Some(explained), server_worked: false }
    }

    /// The server lists messages and gives none of them: the mailbox's failure, whatever the server calls it.
    pub(crate) fn withheld(refused: usize, error: &mail::Error, mailbox: &MailboxForCycle) -> Self {
        let failure = Failure {
            scope: FailureScope::Mailbox,
            alert: AlertKind::MessagesWithheld,
            said: error.said().map(str::to_owned),
            retry_after: error.retry_after(),
        };
        let reason = "the server lists messages and gives none of them";
        let parameters = json!({"endpoint": mailbox.endpoint().key(), "refused": refused, "reason": reason});
        Self {
            outcome: Outcome::Failed(failure.clone()),
            explained: Some(Explained { failure, parameters }),
            server_worked: false,
        }
    }

    /// The database was asked and did not take it: a fault of ours about this mailbox, which asking again does not mend.
    /// Counted like any other failure of the mailbox, so that it ends in an alert instead of going on for ever.
    pub(crate) fn of_store(error: &store::Error, mailbox: &MailboxForCycle) -> Self {
        if matches!(error, store::Error::Away(_) | store::Error::Sealed(_)) {
            return Self::ours();
        }
        let failure = Failure {
            scope: FailureScope::Mailbox,
            alert: AlertKind::LockstepFault,
            said: None,
            retry_after: None,
        };
        let parameters = json!({"endpoint": mailbox.endpoint().key(), "reason": error.to_string()});
        Self {
            outcome: Outcome::Failed(failure.clone()),
            explained: Some(Explained { failure, parameters }),
            server_worked: false,
        }
    }

    /// There is nothing to sign in with: as good as refused.
    pub(crate) fn without_credential(mailbox: &MailboxForCycle) -> Self {
        let failure = Failure {
            scope: FailureScope::Mailbox,
            alert: AlertKind::CredentialsMissing,
            said: None,
            retry_after: None,
        };
        let parameters = json!({"endpoint": mailbox.endpoint().key(), "reason": "no password is stored"});
        Self {
            outcome: Outcome::Failed(failure.clone()),
            explained: Some(Explained { failure, parameters }),
            server_worked: false,
        }
    }
}

/// What ends a cycle early.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The claim is no longer ours: write nothing more.
    Fenced,
    /// The database is away or disagrees.
    Store(store::Error),
    /// The mail server failed.
    Mail(mail::Error),
    /// The server refused each of so many messages, in these words.
    Withheld(usize, mail::Error),
    /// No credential is stored.
    NoCredential,
    /// The lease ended while there was still time to stop.
    LeaseLost,
}

impl From<store::Error> for Interrupted {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Fenced => Self::Fenced,
            other => Self::Store(other),
        }
    }
}

impl From<mail::Error> for Interrupted {
    fn from(error: mail::Error) -> Self {
        Self::Mail(error)
    }
}

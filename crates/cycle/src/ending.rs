//! How a cycle ends, and what can end it early.

use std::time::Duration;

use mail::error::{Busy, Kind};
use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::failure::{Failure, FailureScope, clamped};
use serde_json::json;
use store::mailbox::MailboxForCycle;
use throttle::Denied;

use crate::access::NoAccess;
use crate::failure::{self, Explained};
use crate::search::Unfound;

/// When a cycle without a token asks whether there is one now.
const RETRY: Duration = Duration::from_secs(300);

/// How a cycle ended, with what its alert says when it failed.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What decides when it is due again.
    pub outcome: Outcome,
    /// What went wrong, for people.
    pub explained: Option<Explained>,
    /// Whether the server did its part, whatever came of single items.
    pub server_worked: bool,
    /// Whether the server answered as servers do, if only to turn this mailbox away: then it is not down.
    pub server_answered: bool,
    /// Which of our own parts held the cycle back.
    pub held_by: Option<String>,
    /// How long the server asked to be left alone, and by whom.
    pub back_off: Option<BackOff>,
    /// Whether something says that the mailbox is at another server by now.
    pub moved: bool,
    /// How long until there is more of the rate that ended it.
    pub paced: Option<Duration>,
}

/// A pause that a server asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// Whether it is meant for this mailbox alone.
    pub of_the_mailbox: bool,
    /// How long.
    pub pause: Duration,
}

impl Ending {
    /// It ran to its end.
    pub(crate) fn done(items: u32, cut_off: bool) -> Self {
        Self {
            outcome: Outcome::Done { items, cut_off },
            explained: None,
            server_worked: true,
            server_answered: true,
            held_by: None,
            back_off: None,
            moved: false,
            paced: None,
        }
    }

    /// Ended where a rate was spent, with what it did until then: no failure.
    #[must_use]
    pub(crate) fn paced(self, until_there_is_more: Option<Duration>) -> Self {
        Self { paced: until_there_is_more, ..self }
    }

    /// Nothing needed a connection.
    pub fn idle() -> Self {
        Self { server_worked: false, server_answered: false, ..Self::done(0, false) }
    }

    /// The lease was lost: the coordinator could not be told in time that it is still wanted.
    pub fn ours() -> Self {
        Self::held("the coordinator, which did not renew a lease in time")
    }

    /// Of an ending over connections that were given up meanwhile: no failure of the server's or the mailbox's.
    #[must_use]
    pub fn given_up(self) -> Self {
        if matches!(self.outcome, Outcome::Failed(_)) { Self::ours() } else { self }
    }

    /// One of our own parts is away.
    fn held(part: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed(Failure::ours()), held_by: Some(part.into()), ..Self::idle() }
    }

    /// There was no lease.
    pub fn denied(denied: &Denied) -> Self {
        let (delay, reason) = match denied {
            Denied::NoCapacity { retry_after } => (*retry_after, DueReason::NoCapacity),
            Denied::HeldBack { retry_after, .. } => (*retry_after, DueReason::ServerAsked),
            Denied::RateSpent { retry_after, .. } => (clamped(*retry_after), DueReason::RateSpent),
            Denied::Away { .. } => return Self::held("the coordinator, or the Redis behind it"),
            Denied::Refused { why } => {
                return Self::held(format!("the coordinator, which refuses to count a connection: {why}"));
            }
        };
        Self { outcome: Outcome::Snooze { delay, reason }, ..Self::idle() }
    }

    /// The conversation failed.
    pub(crate) fn failed(error: &mail::Error, mailbox: &MailboxForCycle) -> Self {
        let moved = error.says_moved();
        Self { moved, ..Self::told(error, failure::explained(error, mailbox.endpoint())) }
    }

    /// The mailbox's server was looked for, and not found.
    pub(crate) fn unfound(unfound: Unfound) -> Self {
        let Unfound { explained, error } = unfound;
        match error {
            Some(error) => Self::told(&error, explained),
            None => Self {
                outcome: Outcome::Failed(explained.failure.clone()),
                explained: Some(explained),
                server_answered: true,
                ..Self::idle()
            },
        }
    }

    /// The server that was found for the mailbox is left alone for a while.
    pub(crate) fn server_down(pause: Duration) -> Self {
        Self::later(pause, DueReason::ServerDown)
    }

    fn told(error: &mail::Error, explained: Explained) -> Self {
        let outcome = failure::outcome(&explained.failure, failure::asks_for_a_pause(error));
        // One that says it is in trouble itself has said nothing about whether it is back.
        let server_answered = explained.failure.scope != FailureScope::Server
            && explained.failure.alert != AlertKind::ServerBusy;
        let back_off = match error.kind() {
            Kind::Throttled(busy) => Some(*busy == Busy::Mailbox),
            _ => (explained.failure.scope == FailureScope::Server).then_some(false),
        };
        let back_off = back_off
            .zip(explained.failure.retry_after)
            .map(|(of_the_mailbox, asked)| BackOff { of_the_mailbox, pause: clamped(asked) });
        Self { outcome, explained: Some(explained), server_answered, back_off, ..Self::idle() }
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
            ..Self::idle()
        }
    }

    /// The database was asked and did not take it: a fault of ours about this mailbox, which asking again does not mend.
    /// Counted like any other failure of the mailbox, so that it ends in an alert instead of going on for ever.
    pub(crate) fn of_store(error: &store::Error, mailbox: &MailboxForCycle) -> Self {
        if matches!(error, store::Error::Away(_) | store::Error::Sealed(_)) {
            return Self::held(match error {
                // It names the key, and what to do about it.
                store::Error::Sealed(why) => format!("the key ring ({why})"),
                _ => "Postgres, or the disk that large messages are spooled to".to_owned(),
            });
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
            ..Self::idle()
        }
    }

    /// There is nothing to sign in with.
    pub(crate) fn without_access(why: &NoAccess, mailbox: &MailboxForCycle) -> Self {
        match why {
            NoAccess::Missing => Self::without_credential(mailbox),
            NoAccess::ConsentNeeded => {
                let failure = Failure {
                    scope: FailureScope::Credential,
                    alert: AlertKind::ConsentNeeded,
                    said: None,
                    retry_after: None,
                };
                // The alert is raised, once, by whoever was refused.
                Self { outcome: Outcome::Failed(failure), ..Self::idle() }
            }
            // The profile is paused by now: it goes on once its application is another.
            NoAccess::Refused => Self::later(RETRY, DueReason::CredentialRefused),
            NoAccess::Later { pause } => Self::later(*pause, DueReason::TokenServerAway),
            NoAccess::Store(error) => Self::of_store(error, mailbox),
        }
    }

    fn later(delay: Duration, reason: DueReason) -> Self {
        Self { outcome: Outcome::Snooze { delay, reason }, ..Self::idle() }
    }

    /// Nothing is stored: as good as refused.
    fn without_credential(mailbox: &MailboxForCycle) -> Self {
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
            ..Self::idle()
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
    /// There is nothing to sign in with.
    NoAccess(NoAccess),
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

impl From<NoAccess> for Interrupted {
    fn from(why: NoAccess) -> Self {
        Self::NoAccess(why)
    }
}

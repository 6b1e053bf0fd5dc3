//! How far a failure reaches: the question that decides what happens next (design section 4).

use std::time::Duration;

use crate::alert::AlertKind;
use crate::names::names;

names! {
    /// What a failure is counted on, and so what it can hold back.
    "failure scope" FailureScope {
        /// One message or recipient; never disables a workload.
        Item = "item",
        /// The credential that signed in: of the mailbox, or of the profile for all of its mailboxes.
        Credential = "credential",
        /// The server for everyone: pauses, probes and recovers by itself; disables nothing.
        Server = "server",
        /// Our own parts are away: snooze; counts nowhere and disables nothing.
        Ours = "ours",
        /// Anything else transient about one mailbox: ten tries, then disabled with an alert.
        Mailbox = "mailbox",
    }
}

/// A failed cycle, reduced to what decides its consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How far it reaches.
    pub scope: FailureScope,
    /// What it is called towards people.
    pub alert: AlertKind,
    /// The server's own words, printable and bounded.
    pub said: Option<String>,
    /// How long the server asked to be left alone, unclamped.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// One of our own parts is away.
    pub const fn ours() -> Self {
        Self { scope: FailureScope::Ours, alert: AlertKind::LockstepPartAway, said: None, retry_after: None }
    }
}

/// A server's own word on when to come back, within reason: at least a second, at most an hour.
pub fn clamped(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), Duration::from_secs(3600))
}

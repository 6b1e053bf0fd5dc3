//! When a workload is due again: computed once, at the end of a cycle, from its outcome and its history.
//!
//! The result is a duration that Postgres adds to its own `now()`. Nothing here reads a clock.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::alert::AlertKind;
use crate::failure::{Failure, FailureScope, clamped};
use crate::id::MailboxId;
use crate::names::names;
use crate::workload::Workload;

names! {
    /// How the gap between two cycles is chosen; one per organization.
    "cadence policy" Policy {
        /// A gap per workload: incoming 5 minutes, outgoing when something is due, ACT 5 to 12 or 15 minutes.
        PerWorkload = "per_workload",
        /// The older rule: 2, 5 or up to 12 minutes by how much the mailbox had.
        Dynamic = "dynamic",
    }

    /// Why a workload is due when it is; stored and shown.
    "due reason" DueReason {
        /// Just enabled; spread over the first interval.
        Enabled = "enabled",
        /// The policy's ordinary gap.
        Cadence = "cadence",
        /// The profile's minimum polling interval is longer than the policy's gap.
        MinimumPolling = "minimum_polling",
        /// The last cycle ended at one of its caps and left work behind.
        MoreToDo = "more_to_do",
        /// The earliest next try of a pending send.
        PendingSend = "pending_send",
        /// Nothing waits to be sent.
        NothingToSend = "nothing_to_send",
        /// No connection was free in time.
        NoCapacity = "no_capacity",
        /// One of our own parts was away.
        PartAway = "part_away",
        /// The server asked to be left alone for a while.
        ServerAsked = "server_asked",
        /// So much was sent or asked in a time as the server allows.
        RateSpent = "rate_spent",
        /// The server cannot be used at present; a back-off.
        ServerDown = "server_down",
        /// The last cycle failed; tried again.
        Retry = "retry",
        /// The credential was refused once; asked once more before the workload is switched off.
        CredentialRefused = "credential_refused",
        /// There are no tokens to sign in with until somebody consents.
        ConsentNeeded = "consent_needed",
        /// The token server could not be asked.
        TokenServerAway = "token_server_away",
        /// Switched off, by a person or by Lockstep.
        Disabled = "disabled",
        /// The cycle's worker died.
        WorkerDied = "worker_died",
        /// The message to the worker was lost.
        NotDelivered = "not_delivered",
    }
}

/// How a cycle ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to its end.
    Done {
        /// Items that changed something.
        items: u32,
        /// It stopped at a cap and left work behind.
        cut_off: bool,
    },
    /// Nothing was tried: no connection was free, or one of our own parts was away.
    Snooze {
        /// For how long.
        delay: Duration,
        /// Why.
        reason: DueReason,
    },
    /// It failed; scope and history decide what follows.
    Failed(Failure),
}

/// What the policy needs to know of a workload and its past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Consecutive cycles that changed nothing, before this one.
    pub quiet_cycles: u32,
    /// Consecutive transient failures of mailbox scope, before this one.
    pub failures: u32,
    /// Consecutive refusals of the credential, before this one.
    pub refusals: u32,
    /// How long ago the first of them was.
    pub first_refused: Option<Duration>,
    /// Consecutive failures of the server at this endpoint, over all mailboxes of the profile, before this one.
    pub server_failures: u32,
}

/// What the policy needs to know of a workload's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The organization's policy.
    pub policy: Policy,
    /// Which workload.
    pub workload: Workload,
    /// Whether incoming is on for the same mailbox (ACT then has the wider range).
    pub incoming_too: bool,
    /// The profile's minimum polling interval.
    pub min_polling: Duration,
    /// Whether the credential that signs in is the profile's.
    pub profile_credential: bool,
}

/// What a disabled workload or a paused profile is switched off by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchOff {
    /// This workload of this mailbox.
    Workload(AlertKind),
    /// Every mailbox of the profile, until its secret changes.
    Profile(AlertKind),
}

/// When a workload is due again, and what its counters become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// From the end of the cycle to the next; none when nothing is due.
    pub delay: Option<Duration>,
    /// Why then.
    pub reason: DueReason,
    /// Not before this, whatever is wished for.
    pub not_before: Option<Duration>,
    /// Why not before, where that is not why it is due then.
    pub held_by: Option<DueReason>,
    /// The new value of the counter.
    pub quiet_cycles: u32,
    /// The new value of the counter.
    pub failures: u32,
    /// The new value of the counter.
    pub refusals: u32,
    /// What is switched off, with the alert that says so.
    pub switch_off: Option<SwitchOff>,
}

impl Next {
    /// As a server wants it that takes nothing before `pause` is over, clamped: nothing is tried sooner, whatever is wished
    /// for. What is not due at all stays so.
    #[must_use]
    pub fn held_back(mut self, pause: Duration, reason: DueReason) -> Self {
        let pause = clamped(pause);
        if self.not_before.is_none_or(|not_before| not_before < pause) {
            (self.not_before, self.held_by) = (Some(pause), Some(reason));
        }
        if self.delay.is_some_and(|delay| delay < pause) {
            (self.delay, self.reason) = (Some(pause), reason);
        }
        self
    }
}

const MINUTE: u64 = 60;
/// A failed mailbox is tried again this much later (reference: ten tries, five minutes apart).
const RETRY: Duration = Duration::from_secs(5 * MINUTE);
/// The try that disables a workload.
const TRIES: u32 = 10;
/// The longest back-off of a server that is down.
const SERVER_BACK_OFF: Duration = Duration::from_secs(5 * MINUTE);

/// When the workload is due next. `pending_send` is the earliest next try of a pending send, for outgoing;
/// `jitter` in `0.0..1.0` lengthens a failure's delay by up to a fifth, and nothing else.
pub fn next(
    terms: &Terms,
    outcome: &Outcome,
    history: &History,
    pending_send: Option<Duration>,
    jitter: f64,
) -> Next {
    let kept = Next {
        delay: None,
        reason: DueReason::Cadence,
        not_before: None,
        held_by: None,
        quiet_cycles: history.quiet_cycles,
        failures: history.failures,
        refusals: history.refusals,
        switch_off: None,
    };
    match outcome {
        Outcome::Done { items, cut_off } => {
            let quiet_cycles = if *items == 0 { history.quiet_cycles.saturating_add(1) } else { 0 };
            let (delay, reason) = after_success(terms, *items, *cut_off, quiet_cycles, pending_send);
            Next { delay, reason, quiet_cycles, failures: 0, refusals: 0, ..kept.clone() }
        }
        Outcome::Snooze { delay, reason } => {
            let delay = lengthened(*delay, jitter);
            Next { delay: Some(delay), reason: *reason, not_before: Some(delay), ..kept.clone() }
        }
        Outcome::Failed(failure) => {
            let next = after_failure(terms, failure, history, pending_send, jitter, &kept);
            let sends = terms.policy == Policy::PerWorkload && terms.workload == Workload::Outgoing;
            if sends && pending_send.is_none() { nothing_to_try(next) } else { next }
        }
    }
}

/// Nothing waits to be sent, so there is nothing to try again. A send that is asked for meanwhile waits for the back-off.
fn nothing_to_try(next: Next) -> Next {
    if next.delay.is_none() || next.switch_off.is_some() {
        return next;
    }
    let held_by = next.not_before.map(|_| next.reason);
    Next { delay: None, reason: DueReason::NothingToSend, held_by, ..next }
}

fn after_success(
    terms: &Terms,
    items: u32,
    cut_off: bool,
    quiet_cycles: u32,
    pending_send: Option<Duration>,
) -> (Option<Duration>, DueReason) {
    let minutes = |minutes: u32| Duration::from_secs(u64::from(minutes) * MINUTE);
    if terms.policy == Policy::PerWorkload {
        if terms.workload == Workload::Outgoing {
            return match pending_send {
                Some(delay) => (Some(delay), DueReason::PendingSend),
                None => (None, DueReason::NothingToSend),
            };
        }
        if cut_off {
            return (Some(Duration::ZERO), DueReason::MoreToDo);
        }
    }
    let gap = match (terms.policy, terms.workload) {
        (Policy::Dynamic, _) if items >= 20 || cut_off => 2,
        (Policy::Dynamic, _) if items > 0 => 5,
        (Policy::Dynamic, _) => (5 + quiet_cycles.min(7)).min(12),
        (Policy::PerWorkload, Workload::Incoming | Workload::Outgoing) => 5,
        (Policy::PerWorkload, Workload::Act) => 5 + quiet_cycles.min(if terms.incoming_too { 10 } else { 7 }),
    };
    let (delay, reason) = if terms.min_polling > minutes(gap) {
        (terms.min_polling, DueReason::MinimumPolling)
    } else {
        (minutes(gap), DueReason::Cadence)
    };
    match pending_send {
        Some(sooner) if terms.workload == Workload::Outgoing && sooner < delay => {
            (Some(sooner), DueReason::PendingSend)
        }
        _ => (Some(delay), reason),
    }
}

fn after_failure(
    terms: &Terms,
    failure: &Failure,
    history: &History,
    pending_send: Option<Duration>,
    jitter: f64,
    kept: &Next,
) -> Next {
    let held = |base: Duration, reason| {
        let asked = failure.retry_after.map(clamped).unwrap_or_default();
        let (base, reason) = if asked > base { (asked, DueReason::ServerAsked) } else { (base, reason) };
        let delay = lengthened(base, jitter);
        (Some(delay), reason, Some(delay))
    };
    match failure.scope {
        // One item's failure never fails its cycle; one that came this far is treated as work that went on.
        FailureScope::Item => {
            let (delay, reason) = after_success(terms, 0, false, history.quiet_cycles, pending_send);
            Next { delay, reason, ..kept.clone() }
        }
        FailureScope::Ours => {
            let (delay, reason, not_before) = held(Duration::from_secs(30), DueReason::PartAway);
            Next { delay, reason, not_before, ..kept.clone() }
        }
        FailureScope::Server => {
            let doublings = history.server_failures.min(4);
            let base = Duration::from_secs(30 << doublings).min(SERVER_BACK_OFF);
            let (delay, reason, not_before) = held(base, DueReason::ServerDown);
            Next { delay, reason, not_before, ..kept.clone() }
        }
        // Nobody was refused: nothing is due until there is something to sign in with, and then all of it.
        FailureScope::Credential if failure.alert == AlertKind::ConsentNeeded => {
            Next { reason: DueReason::ConsentNeeded, ..kept.clone() }
        }
        FailureScope::Credential => {
            let refusals = history.refusals.saturating_add(1);
            let long_enough = history.first_refused.is_some_and(|ago| ago >= RETRY);
            if terms.profile_credential {
                let switch_off = Some(SwitchOff::Profile(AlertKind::ProfileCredentialsRefused));
                // Due as ever, so that it goes on by itself once the profile does; a paused profile is not scanned.
                let (delay, reason) = (Some(RETRY), DueReason::CredentialRefused);
                return Next { delay, reason, refusals, switch_off, ..kept.clone() };
            }
            if refusals >= 2 && long_enough {
                let switch_off = Some(SwitchOff::Workload(AlertKind::CredentialsRefused));
                return Next { refusals, switch_off, reason: DueReason::Disabled, ..kept.clone() };
            }
            let (delay, reason, not_before) = held(RETRY, DueReason::CredentialRefused);
            Next { delay, reason, not_before, refusals, ..kept.clone() }
        }
        FailureScope::Mailbox => {
            let failures = history.failures.saturating_add(1);
            if failures >= TRIES {
                let switch_off = Some(SwitchOff::Workload(AlertKind::MailboxKeptFailing));
                return Next { failures, switch_off, reason: DueReason::Disabled, ..kept.clone() };
            }
            let (delay, reason, not_before) = held(RETRY, DueReason::Retry);
            Next { delay, reason, not_before, failures, ..kept.clone() }
        }
    }
}

/// A failure's delay, longer by up to a fifth so that mailboxes that failed together do not come back together.
fn lengthened(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0))
}

/// When a workload that was just enabled is due first: its own place within the first interval, always the same.
pub fn first_due(mailbox: MailboxId, workload: Workload, interval: Duration) -> Duration {
    let mut digest = Sha256::new();
    digest.update(mailbox.0.as_bytes());
    digest.update(workload.as_str());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.finalize()[..8]);
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(u64::from_le_bytes(bytes) % millis)
}

#[cfg(test)]
mod tests;

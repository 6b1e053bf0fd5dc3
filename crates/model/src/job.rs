//! Async operations: work that a person or a schedule asked for and that runs beside the synchronization, never inside it.

mod course;
mod timetable;

use serde::{Deserialize, Serialize};

use crate::email::Decision;
use crate::id::{MailboxId, ProfileId};
use crate::names::names;

pub use course::{Backoff, Event, Setback, Verdict, after, next};
pub use timetable::{Cron, Refused};

/// What [`JobKind::TestAndEnable`] is done to: the payload of its row. Ids only, as in every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestAndEnable {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Whether it is taken from another installation or organization that has marked it as its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// What [`JobKind::TestProfile`] is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestProfile {
    /// Which profile.
    pub profile: ProfileId,
}

/// What [`JobKind::ReExamine`] is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReExamine {
    /// The mailboxes of which profile; of all when there is none.
    pub profile: Option<ProfileId>,
    /// Only what was decided so; all that may be when there are none.
    pub decisions: Option<Vec<Decision>>,
}

names! {
    /// What an async operation does.
    "job kind" JobKind {
        /// Signs in to a mailbox's servers and enables what works.
        TestAndEnable = "test_and_enable",
        /// Tests and enables every mailbox of a profile, by a job for each.
        TestProfile = "test_profile",
        /// Has what mailboxes passed over examined again.
        ReExamine = "re_examine",
        /// Seals every secret again with the active key.
        KeyRotation = "key_rotation",
        /// Removes what the organization has kept for long enough.
        CleanUp = "clean_up",
    }

    /// Where an async operation stands.
    "job state" JobState {
        /// Due at its time, or when the job that it waits for has succeeded.
        Waiting = "waiting",
        /// Offered to the job workers.
        Queued = "queued",
        /// At work.
        Running = "running",
        /// Ended as wished.
        Succeeded = "succeeded",
        /// Ended otherwise; the result says why and what to do.
        Failed = "failed",
        /// Withdrawn by a person.
        Canceled = "canceled",
    }

    /// How a step of an operation went.
    "step outcome" StepOutcome {
        /// Under way.
        Running = "running",
        /// Done.
        Ok = "ok",
        /// Did not work.
        Failed = "failed",
        /// Not applicable or not reached.
        Skipped = "skipped",
    }
}

/// How often a job that a person or a schedule asked for is tried when the failures are ours.
pub const TRIES: u32 = 5;

impl JobState {
    /// Whether nothing more happens to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// One line of progress that a person can follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done, in a few words.
    pub name: String,
    /// How it went.
    pub outcome: StepOutcome,
    /// What was found or what the server said, with the remedy when it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

//! Async operations, on the same ring as the schedules: `waiting`, `queued(claim)`, `running(claim, session)`, and
//! three ends. A job is claimed by number, and writes only while its claim is its own; every job may run twice.

use jiff::Timestamp;
use model::id::{JobId, JobScheduleId, OrganizationId};
use model::job::{JobKind, JobState, Step};
use serde_json::Value;

mod list;
mod many;
mod payload;
mod ring;
mod run;
mod upkeep;

pub(crate) use list::ask;
pub use list::{Page, cancel, create, get, list, retry};
pub use many::{Children, Unhappy, children, create_all, go_on, unhappy};
pub use payload::checked;
pub(crate) use ring::sweep;
pub use ring::{QueuedJob, claim_due, queue_lost, unpublish};
pub use run::{ClaimedJob, Later, claim, claim_unheard, fence, finish, progress, retry_later};
pub use upkeep::forget;

/// What an async operation is to be.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// Ids only: what it is done to.
    pub payload: Value,
    /// How often it may be tried.
    pub max_attempts: u32,
    /// The job that must succeed before this one is due. When that one does not, this one fails with the reason.
    pub after: Option<JobId>,
}

/// An async operation as people see it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// What it is done to.
    pub payload: Value,
    /// Where it stands.
    pub state: JobState,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it is tried at most, when the failures are ours.
    pub max_attempts: u32,
    /// What the last try said that failed, while there are more.
    pub last_error: Option<String>,
    /// When it is due, while it waits; not before the job has succeeded that it waits for.
    pub due_at: Option<Timestamp>,
    /// The job that had to succeed before it.
    pub after: Option<JobId>,
    /// Whether it still waits for that one.
    pub held: bool,
    /// The schedule that asked for it.
    pub schedule: Option<JobScheduleId>,
    /// What happened so far.
    pub progress: Vec<Step>,
    /// What came of it, once it ended.
    pub result: Option<Value>,
    /// Who asked for it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// One claim of one job: what it writes under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Which job.
    pub job: JobId,
    /// The row's counter when it was queued.
    pub number: i64,
}

/// A claim with the organization that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose.
    pub organization: OrganizationId,
    /// Which claim.
    pub claim: Claim,
}

//! Async operations, on the same ring as the schedules: `waiting`, `queued(claim)`, `running(claim, session)`, and
//! three ends. A job is claimed by number, and writes only while its claim is its own; every job may run twice.

use jiff::Timestamp;
use model::id::{JobId, OrganizationId};
use model::job::{JobKind, JobState, Step};
use serde_json::Value;

mod list;
mod many;
mod ring;
mod run;

pub use list::{Page, cancel, create, get, list};
pub use many::{Children, Unhappy, children, create_all, go_on, unhappy};
pub(crate) use ring::sweep;
pub use ring::{QueuedJob, claim_due, queue_lost, unpublish};
pub use run::{ClaimedJob, claim, finish, progress, retry_later};

/// What an async operation is to be.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// Ids only: what it is done to.
    pub payload: Value,
    /// How often it may be tried.
    pub max_attempts: u32,
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

//! One row per workload of a mailbox: `idle`, `queued(claim, since)` or `running(claim, session)`. The ring closes
//! here: what is due, who may run it, and when it is due again. No process clock is ever written to these columns.
//!
//! Queueing and every bump raise the row's claim; a message carries the number, and a cycle may write only while the
//! row still runs under it.

use model::id::{MailboxId, OrganizationId, ProfileId};
use model::workload::Workload;

mod claim;
mod due;
mod listen;
mod picture;
mod plan;
mod queue;
mod sweep;
mod together;

pub use claim::{ClaimedCycle, claim, claim_unheard, fence, finish, ours};
pub use due::{bump, create, make_due, poke, set_profile, wish, wish_all};
pub use listen::{Pokes, listen};
pub use picture::{InFlight, Lateness, in_flight, lateness};
pub use plan::{Plan, Turn, plan};
pub use queue::{Queued, Scan, any_due, claim_due, queue_planned, unpublish};
pub(crate) use sweep::as_seconds;
pub use sweep::{SweepTimes, Swept, queue_lost, repair_outgoing, sweep};
pub(crate) use together::Meeting;
pub use together::{End, claim_together, finish_together};

/// One claim of one workload: what a cycle writes under. A newer claim makes this one worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Whose mail.
    pub mailbox: MailboxId,
    /// Which workload.
    pub workload: Workload,
    /// The row's counter when it was queued.
    pub number: i64,
}

/// A claim with the organization that it belongs to, for statements that cross organizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Whose.
    pub organization: OrganizationId,
    /// On which server.
    pub profile: ProfileId,
    /// Which claim.
    pub claim: Claim,
}

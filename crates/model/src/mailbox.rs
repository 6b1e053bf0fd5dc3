//! A mailbox, its owner, and what an administrator has said about it.

use crate::id::{QueueId, UserId};
use crate::names::names;

names! {
    /// Whether an administrator vouches for a mailbox's address.
    "approval" Approval {
        /// Nobody was asked.
        Empty = "empty",
        /// Waits for an administrator, also after it was mapped to another owner.
        Pending = "pending",
        /// May be processed once tested and enabled.
        Approved = "approved",
        /// Must not be processed.
        Rejected = "rejected",
    }

    /// How one workload of a mailbox is delivered.
    "delivery method" DeliveryMethod {
        /// Not at all.
        None = "none",
        /// By Lockstep, on the server.
        ServerSide = "server_side",
    }

    /// What the last test of a workload said.
    "test result" TestResult {
        /// Never tested, or changed since.
        NotRun = "not_run",
        /// Signed in and everything needed was allowed.
        Success = "success",
        /// Did not work; the server's words are beside it.
        Failure = "failure",
    }

    /// Which incoming messages become records.
    "acceptance policy" Acceptance {
        /// Every message: the default for queues.
        All = "all",
        /// Mail from known parties and replies to our own mail: the default for users.
        KnownSendersAndReplies = "known_senders_and_replies",
        /// No message.
        None = "none",
    }

    /// What a user may do.
    "role" Role {
        /// Administers the organization.
        Admin = "admin",
        /// Works with the own mail.
        User = "user",
    }

    /// The two kinds of mailbox and record owner.
    "kind of owner" OwnerKind {
        /// A person.
        User = "user",
        /// A shared inbox.
        Queue = "queue",
    }
}

/// Who owns a mailbox or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Owner {
    /// A person.
    User(UserId),
    /// A shared inbox.
    Queue(QueueId),
}

impl Owner {
    /// Which of the two it is.
    pub const fn kind(self) -> OwnerKind {
        match self {
            Self::User(_) => OwnerKind::User,
            Self::Queue(_) => OwnerKind::Queue,
        }
    }

    /// The id, whichever kind it is.
    pub const fn id(self) -> uuid::Uuid {
        match self {
            Self::User(id) => id.0,
            Self::Queue(id) => id.0,
        }
    }

    /// An owner from the two columns it is stored in.
    pub const fn new(kind: OwnerKind, id: uuid::Uuid) -> Self {
        match kind {
            OwnerKind::User => Self::User(UserId(id)),
            OwnerKind::Queue => Self::Queue(QueueId(id)),
        }
    }

    /// The acceptance policy a mailbox of this owner starts with.
    pub const fn default_acceptance(self) -> Acceptance {
        match self {
            Self::User(_) => Acceptance::KnownSendersAndReplies,
            Self::Queue(_) => Acceptance::All,
        }
    }
}

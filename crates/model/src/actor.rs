//! Who did something, and what made them: the two halves of every row in the change log.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobScheduleId, KeyId, MailboxId, OrganizationId, UserId};
use crate::names::names;
use crate::workload::Workload;

names! {
    /// What an API key without a user may do.
    "scope" Scope {
        /// Read everything but bodies.
        Read = "read",
        /// Read bodies and attachments; audited.
        ReadBodies = "read_bodies",
        /// Create and change emails, and send them on the right of a person who is named.
        Send = "send",
        /// Send emails from any mailbox, on nobody's right but the organization's.
        SendAsAny = "send_as_any",
        /// Set up profiles, mailboxes, users, queues and settings.
        Administer = "administer",
    }
}

/// Who acts: the change log's actor and the `created_by` of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A person, by one of their keys.
    User {
        /// Who.
        id: UserId,
    },
    /// A service key.
    Key {
        /// Which.
        id: KeyId,
    },
    /// An async operation.
    Job {
        /// Which.
        id: JobId,
    },
    /// A schedule whose time had come.
    Schedule {
        /// Which.
        id: JobScheduleId,
    },
    /// A synchronization cycle.
    Cycle {
        /// Of which mailbox.
        mailbox: MailboxId,
        /// Of which workload.
        workload: Workload,
        /// Under which claim.
        claim: i64,
    },
    /// Whoever holds the configuration, on the command line.
    Operator,
}

impl Actor {
    /// The kind, as stored.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Key { .. } => "key",
            Self::Job { .. } => "job",
            Self::Schedule { .. } => "schedule",
            Self::Cycle { .. } => "cycle",
            Self::Operator => "operator",
        }
    }

    /// The id, as stored beside the kind.
    pub fn id(&self) -> String {
        match self {
            Self::User { id } => id.to_string(),
            Self::Key { id } => id.to_string(),
            Self::Job { id } => id.to_string(),
            Self::Schedule { id } => id.to_string(),
            Self::Cycle { mailbox, workload, claim } => format!("{mailbox}/{workload}/{claim}"),
            Self::Operator => "operator".to_owned(),
        }
    }
}

/// Who an authenticated call speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The organization the key belongs to; everything the call sees is in it.
    pub organization: OrganizationId,
    /// The key.
    pub key: KeyId,
    /// Its user and role, unless it is a service key.
    pub user: Option<(UserId, crate::mailbox::Role)>,
    /// What a service key may do; empty for a user's key.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// The actor that changes are written down for.
    pub fn actor(&self) -> Actor {
        match self.user {
            Some((id, _)) => Actor::User { id },
            None => Actor::Key { id: self.key },
        }
    }

    /// Whether the caller may do what `scope` names: admins may, users may read and send their own, service keys by
    /// their scopes.
    pub fn may(&self, scope: Scope) -> bool {
        match self.user {
            // Nobody but a service sends as anybody: an administrator needs a grant like everyone else.
            Some((_, crate::mailbox::Role::Admin)) => scope != Scope::SendAsAny,
            Some((_, crate::mailbox::Role::User)) => !matches!(scope, Scope::Administer | Scope::SendAsAny),
            None => self.scopes.contains(&scope),
        }
    }

    /// Whether the caller administers the organization.
    pub fn administers(&self) -> bool {
        self.may(Scope::Administer)
    }
}

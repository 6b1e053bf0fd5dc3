//! Typed ids: one type per noun, so that a mailbox is never passed where a profile is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    OrganizationId,
    /// A person who uses the application.
    UserId,
    /// A shared inbox such as support@.
    QueueId,
    /// An email server profile.
    ProfileId,
    /// A folder of a mailbox, whatever its server calls it.
    MailFolderId,
    /// A sealed credential.
    CredentialId,
    /// A mailbox.
    MailboxId,
    /// An email record.
    EmailId,
    /// One stored body of an email.
    CopyId,
    /// An attachment of a copy.
    AttachmentId,
    /// A contact.
    ContactId,
    /// One request to send an email.
    SendRequestId,
    /// One try to hand an email to a server.
    AttemptId,
    /// A report about an email that was sent.
    ReportId,
    /// An alert.
    AlertId,
    /// An async operation.
    JobId,
    /// When async operations are asked for by themselves.
    JobScheduleId,
    /// An API key.
    KeyId,
    /// A live worker process.
    SessionId,
    /// One connection that listens to mailboxes.
    WatchId,
    /// An installation of Lockstep: one database.
    InstallationId,
}

//! What a worker asks for, and what it hears when it gets nothing.

use std::time::Duration;

use model::endpoint::{Endpoint, Protocol};
use model::id::{MailboxId, ProfileId};
use model::workload::ServiceClass;

use crate::share::{Served, Shares};
use crate::v1;

/// One lease over all of `limits`, all or nothing.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// The class that pays.
    pub class: ServiceClass,
    /// Every limit the connection counts in; at least one.
    pub limits: Vec<Limit>,
    /// How long to wait in the queue; zero asks for now or never. `None` takes the configured wait.
    pub wait: Option<Duration>,
    /// For people who look at `lockstep leases list`.
    pub holder: Holder,
}

/// What a lease is for.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// The profile whose server is connected to.
    pub profile: Option<ProfileId>,
    /// The mailbox signed in to.
    pub mailbox: Option<MailboxId>,
    /// The workload, or the kind of job.
    pub workload: String,
}

/// A number of connections that is never passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name it is counted under.
    pub key: String,
    /// How many leases may be held at once, 1 to 65,536.
    pub capacity: u32,
    /// The version of the setting `capacity` came from: an older one never overrides a newer one.
    pub version: u64,
    /// The classes served here, with their shares.
    pub served: Vec<Served>,
    /// How long a slot stays charged after its worker went silent: the server's idle timeout.
    pub in_doubt: Duration,
    /// A watch never takes the last free slot.
    pub spare_for_watch: bool,
}

impl Limit {
    /// The connections of a profile to one of its endpoints, all mailboxes together.
    pub fn of_endpoint(
        profile: ProfileId,
        endpoint: &Endpoint,
        capacity: u32,
        version: u64,
        shares: &Shares,
        in_doubt: Duration,
    ) -> Self {
        let classes = classes_at(endpoint.protocol);
        let served = shares.served(classes);
        Self {
            key: endpoint_key(profile, endpoint),
            capacity,
            version,
            served,
            in_doubt,
            // A watch lasts for half an hour: where it could take the last connection, nothing would come in at all.
            spare_for_watch: classes.contains(&ServiceClass::Watch),
        }
    }

    /// The connections of one mailbox to one endpoint: 1 for POP3 and SMTP.
    pub fn of_mailbox(
        mailbox: MailboxId,
        endpoint: &Endpoint,
        capacity: u32,
        version: u64,
        shares: &Shares,
        in_doubt: Duration,
    ) -> Self {
        let served = shares.served(classes_at(endpoint.protocol));
        Self {
            key: mailbox_key(mailbox, endpoint),
            capacity,
            version,
            served,
            in_doubt,
            spare_for_watch: true,
        }
    }
}

/// The key that back-off of a whole endpoint is reported under.
pub(crate) fn endpoint_key(profile: ProfileId, endpoint: &Endpoint) -> String {
    format!("profile/{profile}/{}", endpoint.key())
}

/// The key that back-off of one mailbox at an endpoint is reported under.
pub(crate) fn mailbox_key(mailbox: MailboxId, endpoint: &Endpoint) -> String {
    format!("mailbox/{mailbox}/{}", endpoint.key())
}

/// The classes that have anything to do at a protocol's endpoints.
fn classes_at(protocol: Protocol) -> &'static [ServiceClass] {
    match protocol {
        Protocol::Pop3 => &[ServiceClass::Incoming, ServiceClass::Jobs],
        Protocol::Smtp => &[ServiceClass::Outgoing, ServiceClass::Jobs],
        Protocol::Ews => &[
            ServiceClass::Incoming,
            ServiceClass::Outgoing,
            ServiceClass::Calendar,
            ServiceClass::Jobs,
            ServiceClass::Watch,
        ],
        // A token server opens no mailbox, and asks for no lease.
        Protocol::Https => &[],
    }
}

/// Why there is no lease. All but `Refused` snooze the cycle and count nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Every slot stayed taken for as long as the request would wait.
    #[error("no connection to the mail server came free in time; asking again in {}", seconds(.retry_after))]
    NoCapacity {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// The server asked to be left alone.
    #[error("the mail server asked to be left alone for another {}", seconds(.retry_after))]
    HeldBack {
        /// When the server may be asked again.
        retry_after: Duration,
        /// The limit that is held back.
        key: String,
    },
    /// So much was used in a time as the server allows.
    #[error("a rate of the mail server is spent; asking again in {}", seconds(.retry_after))]
    RateSpent {
        /// When asking again makes sense.
        retry_after: Duration,
        /// The rate.
        key: String,
    },
    /// No coordinator was reached, or none that reaches its ledger: nobody's fault on the mail side.
    #[error("the coordinator or its ledger cannot be reached; asking again in {}", seconds(.retry_after))]
    Away {
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// The request itself is wrong: asking again is in vain.
    #[error("the coordinator refused the request: {why}")]
    Refused {
        /// What is wrong and what to do about it.
        why: String,
    },
}

impl Denied {
    /// How long to snooze before asking again; none when asking again is in vain.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoCapacity { retry_after }
            | Self::HeldBack { retry_after, .. }
            | Self::RateSpent { retry_after, .. }
            | Self::Away { retry_after } => Some(*retry_after),
            Self::Refused { .. } => None,
        }
    }
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_millis().div_ceil(1000))
}

/// The class as the contract numbers it.
pub fn class_to_wire(class: ServiceClass) -> v1::ServiceClass {
    match class {
        ServiceClass::Incoming => v1::ServiceClass::Incoming,
        ServiceClass::Outgoing => v1::ServiceClass::Outgoing,
        ServiceClass::Calendar => v1::ServiceClass::Calendar,
        ServiceClass::Jobs => v1::ServiceClass::Jobs,
        ServiceClass::Watch => v1::ServiceClass::Watch,
    }
}

/// The class that a number of the contract means; none for numbers of a newer contract.
pub fn class_from_wire(class: i32) -> Option<ServiceClass> {
    match v1::ServiceClass::try_from(class).ok()? {
        v1::ServiceClass::Unspecified => None,
        v1::ServiceClass::Incoming => Some(ServiceClass::Incoming),
        v1::ServiceClass::Outgoing => Some(ServiceClass::Outgoing),
        v1::ServiceClass::Calendar => Some(ServiceClass::Calendar),
        v1::ServiceClass::Jobs => Some(ServiceClass::Jobs),
        v1::ServiceClass::Watch => Some(ServiceClass::Watch),
    }
}

impl AcquireRequest {
    /// The message that asks for it, with the wait that is left.
    pub(crate) fn to_wire(&self, lease_id: String, wait: Duration, again: bool) -> v1::Acquire {
        v1::Acquire {
            lease_id,
            class: class_to_wire(self.class).into(),
            limits: self.limits.iter().map(Limit::to_wire).collect(),
            wait_ms: millis(wait),
            holder: Some(v1::Holder {
                profile_id: self.holder.profile.map(|id| id.to_string()).unwrap_or_default(),
                mailbox_id: self.holder.mailbox.map(|id| id.to_string()).unwrap_or_default(),
                workload: self.holder.workload.clone(),
            }),
            again,
            rates: Vec::new(),
        }
    }
}

impl Limit {
    fn to_wire(&self) -> v1::Limit {
        v1::Limit {
            key: self.key.clone(),
            capacity: self.capacity,
            version: self.version,
            served: self
                .served
                .iter()
                .map(|served| v1::Served {
                    class: class_to_wire(served.class).into(),
                    share: served.share,
                    ceiling_percent: served.ceiling_percent,
                })
                .collect(),
            in_doubt_ms: millis(self.in_doubt),
            spare_for_watch: self.spare_for_watch,
        }
    }
}

/// Whole milliseconds, as the contract counts.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

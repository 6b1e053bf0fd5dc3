//! What a lease is asked for, checked and ready for the book.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::workload::ServiceClass;
use throttle::Quota;
use uuid::Uuid;

use super::CLASSES;
use super::rate::ClaimedRate;

/// One request for a lease over all of `limits`.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) id: Uuid,
    pub(crate) stream: Uuid,
    /// As [`class_at`] counts.
    pub(crate) class: usize,
    pub(crate) limits: Vec<ClaimedLimit>,
    /// For people: profile, mailbox and workload.
    pub(crate) holder: String,
    /// How long the slots stay charged after the worker went silent.
    pub(crate) in_doubt: Duration,
    /// What it wants to be allowed of rates.
    pub(crate) rates: Vec<ClaimedRate>,
}

/// A limit with what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedLimit {
    pub(crate) key: Arc<str>,
    pub(crate) version: u64,
    pub(crate) terms: Terms,
}

/// What a limit allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) capacity: u32,
    /// A watch never takes the last free slot.
    pub(crate) spare_for_watch: bool,
    /// Minimum and ceiling of each class served.
    pub(crate) quotas: [Option<(u32, u32)>; CLASSES],
}

impl Claim {
    pub(super) fn keys(&self) -> impl Iterator<Item = Arc<str>> {
        self.limits.iter().map(|limit| Arc::clone(&limit.key))
    }
}

impl Terms {
    pub(crate) fn new(capacity: u32, spare_for_watch: bool, quotas: &[Quota]) -> Self {
        let mut terms = Self { capacity, spare_for_watch, quotas: [None; CLASSES] };
        for quota in quotas {
            terms.quotas[class_at(quota.class)] = Some((quota.minimum, quota.ceiling));
        }
        terms
    }

    /// As the journal has it; none when it is not understood.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let capacity = words.next()?.parse().ok()?;
        let spare_for_watch = words.next()? == "1";
        let mut quotas = [None; CLASSES];
        for word in words {
            let mut numbers = word.split(':');
            let class: usize = numbers.next()?.parse().ok()?;
            let quota = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
            *quotas.get_mut(class.checked_sub(1)?)? = Some(quota);
        }
        Some(Self { capacity, spare_for_watch, quotas })
    }
}

/// `capacity spare class:minimum:ceiling …`, classes from 1.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.capacity, u8::from(self.spare_for_watch))?;
        for (class, quota) in self.quotas.iter().enumerate() {
            if let Some((minimum, ceiling)) = quota {
                write!(f, " {}:{minimum}:{ceiling}", class + 1)?;
            }
        }
        Ok(())
    }
}

/// Where a class stands in the order of [`ServiceClass::ALL`].
pub(crate) fn class_at(class: ServiceClass) -> usize {
    ServiceClass::ALL.iter().position(|known| *known == class).unwrap_or(0)
}

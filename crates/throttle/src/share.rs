//! What each class of service is due at a limit: pure arithmetic, used by the ledger and shown by `status`.

use model::workload::ServiceClass;
use serde::Deserialize;

/// Shares of every class, as configured for the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// Incoming mail.
    pub incoming: ClassShare,
    /// Outgoing mail.
    pub outgoing: ClassShare,
    /// Appointments, contacts and tasks.
    pub calendar: ClassShare,
    /// The async job service.
    pub jobs: ClassShare,
    /// Push connections.
    pub watch: ClassShare,
}

/// What one class is due wherever it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassShare {
    /// The weight that its guaranteed part of a limit is computed from.
    pub share_percent: u32,
    /// The most it may hold of a limit, however idle the others are.
    pub ceiling_percent: u32,
}

/// A class that a limit serves, with what it is due there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The class.
    pub class: ServiceClass,
    /// Its weight among the classes served.
    pub share: u32,
    /// The most it may hold, in percent of the capacity.
    pub ceiling_percent: u32,
}

/// What a class is due of one limit, in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The class.
    pub class: ServiceClass,
    /// Slots it gets before others while it waits. A class with 0 is guaranteed a turn instead.
    pub minimum: u32,
    /// Slots it never passes; at least 1.
    pub ceiling: u32,
}

impl Shares {
    /// The share of one class.
    pub fn of(&self, class: ServiceClass) -> ClassShare {
        match class {
            ServiceClass::Incoming => self.incoming,
            ServiceClass::Outgoing => self.outgoing,
            ServiceClass::Calendar => self.calendar,
            ServiceClass::Jobs => self.jobs,
            ServiceClass::Watch => self.watch,
        }
    }

    /// The classes that a limit serves, with their shares.
    pub fn served(&self, classes: &[ServiceClass]) -> Vec<Served> {
        classes
            .iter()
            .map(|&class| {
                let ClassShare { share_percent, ceiling_percent } = self.of(class);
                Served { class, share: share_percent, ceiling_percent }
            })
            .collect()
    }
}

/// Minimum = floor(capacity × share / sum of the shares served); ceiling = floor(capacity × percent), at least 1 and
/// at most the capacity.
pub fn quotas(capacity: u32, served: &[Served]) -> Vec<Quota> {
    let sum: u64 = served.iter().map(|served| u64::from(served.share)).sum();
    let part = |of: u64, whole: u64| {
        let slots = (u64::from(capacity) * of).checked_div(whole).unwrap_or(0).min(u64::from(capacity));
        u32::try_from(slots).unwrap_or(capacity)
    };
    served
        .iter()
        .map(|&Served { class, share, ceiling_percent }| {
            let ceiling = part(ceiling_percent.into(), 100).max(1);
            Quota { class, minimum: part(share.into(), sum).min(ceiling), ceiling }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::workload::ServiceClass::{Calendar, Incoming, Jobs, Outgoing, Watch};

    use super::*;

    fn shares() -> Shares {
        let class = |share_percent| ClassShare { share_percent, ceiling_percent: 100 };
        Shares {
            incoming: class(40),
            outgoing: class(20),
            calendar: class(20),
            jobs: class(10),
            watch: class(10),
        }
    }

    fn minimums(capacity: u32, classes: &[ServiceClass]) -> Vec<u32> {
        quotas(capacity, &shares().served(classes)).iter().map(|quota| quota.minimum).collect()
    }

    #[test]
    fn minimums_are_floors_over_the_classes_served() {
        let all = ServiceClass::ALL;
        for (capacity, classes, expected) in [
            (10, all, vec![4, 2, 2, 1, 1]),
            (100, all, vec![40, 20, 20, 10, 10]),
            (3, all, vec![1, 0, 0, 0, 0]),
            (1, all, vec![0, 0, 0, 0, 0]),
            (10, &[Incoming, Jobs][..], vec![8, 2]),
            (10, &[Outgoing, Jobs][..], vec![6, 3]),
            (1, &[Incoming][..], vec![1]),
            (65_536, &[Incoming, Outgoing, Calendar][..], vec![32_768, 16_384, 16_384]),
            (7, &[Watch, Calendar][..], vec![2, 4]),
        ] {
            assert_eq!(minimums(capacity, classes), expected, "{capacity} over {classes:?}");
        }
    }

    #[test]
    fn minimums_never_add_up_to_more_than_the_capacity() {
        for capacity in 1..=200 {
            let sum: u32 = minimums(capacity, ServiceClass::ALL).iter().sum();
            assert!(sum <= capacity);
        }
    }

    #[test]
    fn a_ceiling_is_at_least_one_slot_at_most_all_and_never_below_its_own_minimum() {
        let ceiling = |capacity, share, ceiling_percent| {
            let served = Served { class: Incoming, share, ceiling_percent };
            let quota = quotas(capacity, &[served])[0];
            assert!(quota.minimum <= quota.ceiling);
            quota.ceiling
        };
        assert_eq!(ceiling(10, 40, 100), 10);
        assert_eq!(ceiling(10, 40, 50), 5);
        assert_eq!(ceiling(10, 40, 1), 1);
        assert_eq!(ceiling(10, 40, 0), 1);
        assert_eq!(ceiling(10, 40, 400), 10);
        assert_eq!(ceiling(1, 0, 30), 1);
    }

    #[test]
    fn shares_that_are_all_zero_guarantee_nothing_and_forbid_nothing() {
        let none = Served { class: Incoming, share: 0, ceiling_percent: 100 };
        assert_eq!(quotas(5, &[none]), [Quota { class: Incoming, minimum: 0, ceiling: 5 }]);
    }
}

//! One limit: what is held of it by class, who waits for it, and which class gets its next slot.

use std::collections::BTreeMap;

use model::workload::ServiceClass;
use tokio::time::Instant;
use uuid::Uuid;

use super::claim::Terms;
use super::{CLASSES, class_at};

#[derive(Clone, Debug, Default)]
pub(super) struct Limit {
    pub(super) version: u64,
    pub(super) terms: Terms,
    pub(super) held: [u32; CLASSES],
    /// Part of what is held.
    pub(super) in_doubt: u32,
    pub(super) held_back_until: Option<Instant>,
    /// How many waiting requests name it, whatever they wait for: what is known of its setting must outlive them.
    pub(super) named: usize,
    /// How many slots were ever granted, by which turns are counted.
    grants: u64,
    /// After how many grants each class was served last.
    served: [u64; CLASSES],
    /// After how many grants each class began to wait.
    began: [u64; CLASSES],
    /// Those for whom this limit is what they wait for, by their places.
    queues: [BTreeMap<u64, Uuid>; CLASSES],
}

/// The state on paper that slots are handed out from, to see who would get them.
struct Paper {
    held: [u32; CLASSES],
    served: [u64; CLASSES],
    waiting: [usize; CLASSES],
    grants: u64,
    left: u32,
}

impl Limit {
    pub(super) fn new(version: u64, terms: Terms) -> Self {
        Self { version, terms, ..Self::default() }
    }

    /// Takes over what a setting of this version allows; true when that changed something. An older version never
    /// overrides a newer one.
    pub(super) fn configure(&mut self, version: u64, terms: &Terms) -> bool {
        if version < self.version {
            return false;
        }
        self.version = version;
        std::mem::replace(&mut self.terms, *terms) != *terms
    }

    pub(super) fn in_use(&self) -> u32 {
        self.held.iter().sum()
    }

    pub(super) fn waiting(&self, class: usize) -> usize {
        self.queues[class].len()
    }

    /// Nobody holds it, names it or has to leave it alone.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.in_use() == 0 && self.named == 0 && self.held_back_until.is_none_or(|until| until <= now)
    }

    pub(super) fn take(&mut self, class: usize) {
        self.grants += 1;
        self.held[class] += 1;
        self.served[class] = self.grants;
    }

    /// Counts a lease that the journal knows of.
    pub(super) fn charge(&mut self, class: usize, in_doubt: bool) {
        self.held[class] += 1;
        self.in_doubt += u32::from(in_doubt);
    }

    pub(super) fn give_back(&mut self, class: usize, in_doubt: bool) {
        self.held[class] -= 1;
        self.in_doubt -= u32::from(in_doubt);
    }

    pub(super) fn join(&mut self, class: usize, place: u64, id: Uuid) {
        if self.queues[class].is_empty() {
            self.began[class] = self.grants;
        }
        self.queues[class].insert(place, id);
    }

    pub(super) fn leave(&mut self, class: usize, place: u64) {
        self.queues[class].remove(&place);
    }

    pub(super) fn everyone(&self) -> Vec<Uuid> {
        self.queues.iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Whether a request of this place in the queue may take a slot now: after those before it have taken theirs.
    pub(super) fn fits(&self, class: usize, place: u64) -> bool {
        let Some((_, ceiling)) = self.terms.quotas[class] else { return false };
        let mut paper = self.paper();
        if paper.left == 0 || self.held[class] >= ceiling || self.is_the_spare_one(class, paper.left) {
            return false;
        }
        if paper.waiting == [0; CLASSES] {
            return true;
        }
        let rank = self.queues[class].range(..place).take(paper.left as usize).count();
        paper.waiting[class] = paper.waiting[class].max(rank + 1);
        let mut before = 0;
        while let Some(next) = self.pick(&paper) {
            if next == class {
                if before == rank {
                    return true;
                }
                before += 1;
            }
            paper.hand_out(next);
        }
        false
    }

    /// Who gets the next slot; none when nobody may.
    pub(super) fn next(&self) -> Option<Uuid> {
        let class = self.pick(&self.paper())?;
        self.queues[class].first_key_value().map(|(_, id)| *id)
    }

    fn paper(&self) -> Paper {
        Paper {
            held: self.held,
            served: self.served,
            waiting: std::array::from_fn(|class| self.waiting(class)),
            grants: self.grants,
            left: self.terms.capacity.saturating_sub(self.in_use()),
        }
    }

    fn is_the_spare_one(&self, class: usize, left: u32) -> bool {
        self.terms.spare_for_watch && left < 2 && class == class_at(ServiceClass::Watch)
    }

    /// The class of the next slot: first one whose minimum rounds to 0 and that has waited a whole round without a slot,
    /// then the class furthest below its minimum, then the one served longest ago.
    fn pick(&self, paper: &Paper) -> Option<usize> {
        if paper.left == 0 {
            return None;
        }
        let served = self.terms.quotas.iter().flatten().count() as u64;
        let round = u64::from(self.terms.capacity) + served;
        let mut best: Option<(usize, Turn)> = None;
        for class in 0..CLASSES {
            let Some((minimum, ceiling)) = self.terms.quotas[class] else { continue };
            if paper.waiting[class] == 0
                || paper.held[class] >= ceiling
                || self.is_the_spare_one(class, paper.left)
            {
                continue;
            }
            let since = paper.served[class].max(self.began[class]);
            let owed = minimum == 0 && paper.held[class] == 0 && paper.grants - since >= round;
            let turn = if owed {
                Turn::Owed { since }
            } else {
                let above = i64::from(paper.held[class]) - i64::from(minimum);
                Turn::ByNeed { above, served: paper.served[class] }
            };
            if best.is_none_or(|(_, first)| turn < first) {
                best = Some((class, turn));
            }
        }
        best.map(|(class, _)| class)
    }
}

/// The order of turns, the first one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Owed {
        since: u64,
    },
    ByNeed {
        /// How many slots more than its minimum the class holds.
        above: i64,
        served: u64,
    },
}

impl Paper {
    fn hand_out(&mut self, class: usize) {
        self.grants += 1;
        self.held[class] += 1;
        self.served[class] = self.grants;
        self.waiting[class] -= 1;
        self.left -= 1;
    }
}

//! The book's rules once more, without haste and without its ways of being quick, to hold it against.

use std::collections::{BTreeMap, BTreeSet};

use throttle::Quota;
use uuid::Uuid;

use super::{Released, class_at};

/// One limit: per class in the order of [`model::workload::ServiceClass::ALL`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) capacity: u32,
    pub(crate) quotas: BTreeMap<usize, (u32, u32)>,
    pub(crate) held: [u32; 5],
    grants: u64,
    served: [u64; 5],
    began: [u64; 5],
}

#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) id: Uuid,
    pub(crate) class: usize,
    pub(crate) limits: Vec<usize>,
    waits_at: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    class: usize,
    limits: Vec<usize>,
    in_doubt: bool,
}

/// What a request hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Granted,
    Waiting,
    Full,
}

/// Everything the ledger knows. Tickets stand in the order of their places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) limits: Vec<Counted>,
    pub(crate) queue: Vec<Ticket>,
    pub(crate) leases: BTreeMap<Uuid, Held>,
}

impl Model {
    pub(crate) fn new(limits: usize) -> Self {
        Self { limits: vec![Counted::default(); limits], ..Self::default() }
    }

    pub(crate) fn configure(&mut self, limit: usize, capacity: u32, quotas: &[Quota]) {
        let quotas = quotas.iter().map(|quota| (class_at(quota.class), (quota.minimum, quota.ceiling)));
        self.limits[limit].capacity = capacity;
        self.limits[limit].quotas = quotas.collect();
    }

    pub(crate) fn acquire(&mut self, id: Uuid, class: usize, limits: &[usize], waits: bool) -> Heard {
        let fits: Vec<_> = limits.iter().map(|&limit| self.fits(id, class, limit)).collect();
        if fits.iter().all(|fits| *fits) {
            self.queue.retain(|ticket| ticket.id != id);
            for &limit in limits {
                let limit = &mut self.limits[limit];
                limit.grants += 1;
                limit.held[class] += 1;
                limit.served[class] = limit.grants;
            }
            self.leases.insert(id, Held { class, limits: limits.to_vec(), in_doubt: false });
            return Heard::Granted;
        }
        if !waits {
            self.queue.retain(|ticket| ticket.id != id);
            return Heard::Full;
        }
        if !self.queue.iter().any(|ticket| ticket.id == id) {
            let waits_at = BTreeSet::new();
            self.queue.push(Ticket { id, class, limits: limits.to_vec(), waits_at });
        }
        for (&limit, fits) in limits.iter().zip(fits) {
            let first =
                !self.queue.iter().any(|other| other.class == class && other.waits_at.contains(&limit));
            if let Some(ticket) = self.queue.iter_mut().find(|ticket| ticket.id == id) {
                if fits {
                    ticket.waits_at.remove(&limit);
                } else if ticket.waits_at.insert(limit) && first {
                    self.limits[limit].began[class] = self.limits[limit].grants;
                }
            }
        }
        Heard::Waiting
    }

    /// Hands out every free slot to those who wait here, and looks whether this request is among them.
    fn fits(&self, id: Uuid, class: usize, at: usize) -> bool {
        let mut limit = self.limits[at].clone();
        let place = self.queue.iter().position(|ticket| ticket.id == id).unwrap_or(self.queue.len());
        let mut waiting: Vec<(usize, Uuid, usize)> = self
            .queue
            .iter()
            .enumerate()
            .filter(|(_, ticket)| ticket.id != id && ticket.waits_at.contains(&at))
            .map(|(place, ticket)| (place, ticket.id, ticket.class))
            .collect();
        waiting.push((place, id, class));
        waiting.sort_unstable();
        while limit.held.iter().sum::<u32>() < limit.capacity {
            let classes: BTreeSet<_> = waiting.iter().map(|(_, _, class)| *class).collect();
            let Some(next) = limit.next(&classes) else { return false };
            let Some(first) = waiting.iter().position(|(_, _, class)| *class == next) else { return false };
            if waiting.remove(first).1 == id {
                return true;
            }
            limit.grants += 1;
            limit.held[next] += 1;
            limit.served[next] = limit.grants;
        }
        false
    }

    /// Whether somebody waits who would be granted now: a wake that was forgotten.
    pub(crate) fn overlooked(&self) -> Option<Uuid> {
        let granted =
            |ticket: &&Ticket| ticket.limits.iter().all(|&limit| self.fits(ticket.id, ticket.class, limit));
        self.queue.iter().find(|ticket| granted(ticket)).map(|ticket| ticket.id)
    }

    pub(crate) fn renew(&self, id: Uuid) -> bool {
        self.leases.get(&id).is_some_and(|held| !held.in_doubt)
    }

    pub(crate) fn release(&mut self, id: Uuid) -> Released {
        let waiting = self.queue.len();
        self.queue.retain(|ticket| ticket.id != id);
        let Some(held) = self.leases.remove(&id) else {
            return if self.queue.len() < waiting { Released::Place } else { Released::Nothing };
        };
        for limit in held.limits {
            self.limits[limit].held[held.class] -= 1;
        }
        Released::Lease
    }

    /// Nobody knows whether the server counts it; who only waits leaves the queue.
    pub(crate) fn doubt(&mut self, id: Uuid) {
        match self.leases.get_mut(&id) {
            Some(held) => held.in_doubt = true,
            None => {
                self.release(id);
            }
        }
    }

    /// The time of a lease is over.
    pub(crate) fn expire(&mut self, id: Uuid, stream_ended: bool) {
        match self.leases.get_mut(&id) {
            Some(held) if !held.in_doubt && !stream_ended => held.in_doubt = true,
            _ => {
                self.release(id);
            }
        }
    }

    /// What another coordinator finds written down: who holds what, and nothing else.
    pub(crate) fn without_queues(&self) -> Self {
        let limits = self.limits.iter().map(|limit| {
            let (capacity, quotas) = (limit.capacity, limit.quotas.clone());
            Counted { capacity, quotas, held: limit.held, ..Counted::default() }
        });
        Self { limits: limits.collect(), queue: Vec::new(), leases: self.leases.clone() }
    }

    /// A limit that nobody holds or names is forgotten with each event.
    pub(crate) fn end_of_event(&mut self) {
        for (at, limit) in self.limits.iter_mut().enumerate() {
            let waited_for = self.queue.iter().any(|ticket| ticket.limits.contains(&at));
            if limit.held == [0; 5] && !waited_for {
                let (capacity, quotas) = (limit.capacity, std::mem::take(&mut limit.quotas));
                *limit = Counted { capacity, quotas, ..Counted::default() };
            }
        }
    }

    /// Classes that wait at a limit and hold less than their minimum.
    pub(crate) fn below_minimum(&self, at: usize) -> BTreeSet<usize> {
        let limit = &self.limits[at];
        let waiting = self.queue.iter().filter(|ticket| ticket.waits_at.contains(&at));
        waiting
            .map(|ticket| ticket.class)
            .filter(|&class| limit.held[class] < limit.quotas[&class].0)
            .collect()
    }
}

impl Counted {
    /// The class that gets the next slot.
    fn next(&self, classes: &BTreeSet<usize>) -> Option<usize> {
        let below_ceiling =
            |class: &&usize| self.quotas.get(class).is_some_and(|(_, most)| self.held[**class] < *most);
        let may: Vec<usize> = classes.iter().filter(below_ceiling).copied().collect();
        let since = |class: usize| self.served[class].max(self.began[class]);
        let round = u64::from(self.capacity) + self.quotas.len() as u64;
        let owed = may.iter().copied().filter(|&class| {
            self.quotas[&class].0 == 0 && self.held[class] == 0 && self.grants - since(class) >= round
        });
        let need = |class: usize| i64::from(self.quotas[&class].0) - i64::from(self.held[class]);
        owed.min_by_key(|&class| (since(class), class))
            .or_else(|| may.iter().copied().min_by_key(|&class| (-need(class), self.served[class], class)))
    }
}

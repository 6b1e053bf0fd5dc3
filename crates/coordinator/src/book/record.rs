//! Leases as the journal has them: what the next coordinator needs to know when this one is gone, and nothing that
//! depends on a clock.

use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::claim::Terms;
use super::rate::{self, Drawn};
use super::{Book, CLASSES, Lease, State};

/// What the journal has to change to say what the book says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Leases with their records.
    pub(crate) written: Vec<(Uuid, String)>,
    pub(crate) erased: Vec<Uuid>,
    /// Keys that are held back, each with for how long; zero when not any more.
    pub(crate) holds: Vec<(Arc<str>, Duration)>,
    /// What is spent of rates; empty when nothing is any more.
    pub(crate) rates: Vec<(Arc<str>, String)>,
}

impl Book {
    /// Takes what changed since the last time.
    pub(crate) fn changes(&mut self, now: Instant) -> Changes {
        let mut changes = Changes::default();
        for id in mem::take(&mut self.changed) {
            match self.leases.get(&id) {
                Some(lease) => changes.written.push((id, self.record(lease))),
                None => changes.erased.push(id),
            }
        }
        for key in mem::take(&mut self.changed_holds) {
            let until = self.limits.get(&key).and_then(|limit| limit.held_back_until);
            let pause = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            changes.holds.push((key, pause));
        }
        for key in mem::take(&mut self.changed_rates) {
            let record = self.rate_record(&key, now);
            changes.rates.push((key, record));
        }
        changes
    }

    /// Everything, as if the journal were empty.
    pub(crate) fn whole(&mut self, now: Instant) -> Changes {
        self.changed.clear();
        self.changed_holds.clear();
        self.changed_rates.clear();
        let rates = self.rates.keys().map(|key| (Arc::clone(key), self.rate_record(key, now)));
        let rates = rates.filter(|(_, record)| !record.is_empty()).collect();
        Changes {
            written: self.leases.iter().map(|(id, lease)| (*id, self.record(lease))).collect(),
            erased: Vec::new(),
            holds: self.holds.iter().map(|(until, key)| (Arc::clone(key), *until - now)).collect(),
            rates,
        }
    }

    /// `class \t state \t in doubt, ms \t holder`, then for each limit `\t key \t version \t terms`, and for each rate
    /// `\t key \t allowed \t r spent`.
    fn record(&self, lease: &Lease) -> String {
        let state = match lease.state {
            State::Live => 'l',
            State::Ended => 'e',
            State::InDoubt => 'd',
        };
        let mut record =
            format!("{}\t{state}\t{}\t{}", lease.class + 1, lease.in_doubt.as_millis(), lease.holder);
        for key in &lease.keys {
            let (version, terms) =
                self.limits.get(key).map(|limit| (limit.version, limit.terms)).unwrap_or_default();
            // Writing to a String cannot fail.
            write!(record, "\t{key}\t{version}\t{terms}").ok();
        }
        for Drawn { key, allowed, spent } in &lease.rates {
            write!(record, "\t{key}\t{allowed}\tr{spent}").ok();
        }
        record
    }

    /// Takes in a lease that another coordinator wrote down. Whatever was left of its life, it has a whole one from
    /// now: the worker may have been told so a moment ago. False when the record is not understood.
    pub(crate) fn load(&mut self, id: Uuid, record: &str, now: Instant) -> bool {
        let Some((mut lease, limits)) = read(record, now + self.lifetime) else { return false };
        if lease.state == State::InDoubt {
            lease.ends = now + lease.in_doubt;
        }
        // A scan of Redis may find it twice.
        let Entry::Vacant(entry) = self.leases.entry(id) else { return true };
        for (key, version, terms) in limits {
            let limit = self.limits.entry(Arc::clone(&key)).or_default();
            limit.configure(version, &terms);
            limit.charge(lease.class, lease.state == State::InDoubt);
            lease.keys.push(key);
        }
        self.endings.insert((lease.ends, id));
        let drawn = lease.rates.clone();
        entry.insert(lease);
        self.load_drawn(&drawn, now);
        true
    }

    /// Takes in that a key is held back.
    pub(crate) fn load_hold(&mut self, key: &str, pause: Duration, now: Instant) {
        self.back_off(key, pause, now);
        self.changed_holds.remove(key);
    }
}

/// A limit of a record: key, version and terms.
type Charged = (Arc<str>, u64, Terms);

fn read(record: &str, ends: Instant) -> Option<(Lease, Vec<Charged>)> {
    let mut parts = record.split('\t');
    let class = parts.next()?.parse::<usize>().ok()?.checked_sub(1).filter(|class| *class < CLASSES)?;
    let state = match parts.next()? {
        "l" => State::Live,
        "e" => State::Ended,
        "d" => State::InDoubt,
        _ => return None,
    };
    let in_doubt = Duration::from_millis(parts.next()?.parse().ok()?);
    let holder = parts.next()?.to_owned();
    let (mut limits, mut rates) = (Vec::new(), Vec::new());
    while let Some(key) = parts.next() {
        let (key, number, last) = (Arc::from(key), parts.next()?.parse().ok()?, parts.next()?);
        match last.strip_prefix('r') {
            Some(spent) => {
                rate::parts(&key)?;
                let spent = spent.parse().ok().filter(|spent| *spent <= number)?;
                rates.push(Drawn { key, allowed: number, spent });
            }
            None => limits.push((key, number, Terms::read(last)?)),
        }
    }
    // Nobody has shown himself over a stream of this coordinator yet.
    let stream = Uuid::nil();
    Some((Lease { class, state, stream, ends, in_doubt, holder, keys: Vec::new(), rates }, limits))
}

//! Rates: how much of what was allowed counts yet in a window that slides.
//!
//! What a lease is allowed counts from the grant. What it says it spent counts for a whole window from then on, and the
//! rest is free when the lease is given back; where nobody says, all of it counts as spent at its end. So whatever was used
//! in any window of that length was charged together at the last of its uses, and never more than the amount is charged.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Book;

/// What is spent within so small a part of a window is counted together, until the last of it is over.
const SLICES: u32 = 16;

/// What a request wants of a rate, counted from the beginning of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimedRate {
    /// As [`key`] makes it.
    pub(crate) key: Arc<str>,
    pub(crate) amount: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) spent: u64,
    /// What its worker was told.
    pub(crate) allowed: u64,
}

/// What a lease has of a rate, counted from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(super) key: Arc<str>,
    pub(super) allowed: u64,
    /// Part of it, which counts by itself.
    pub(super) spent: u64,
}

/// What came of asking for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// So much of each rate in all.
    Allowed(Vec<u64>),
    /// There is no more of one of them now.
    Spent { pause: Duration, key: Arc<str> },
    /// The lease is not held any more.
    Lost,
}

/// What counts under one key.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) window: Duration,
    /// For people: by whoever asked last.
    pub(super) amount: u64,
    /// Allowed and not spent yet.
    pub(super) open: u64,
    /// Until when what counts, in order.
    log: VecDeque<(Instant, u64)>,
    pub(super) logged: u64,
    /// When it is looked at.
    look: Option<Instant>,
    /// The journal has it, or is about to.
    written: bool,
}

/// The name that a rate is counted under: buckets of different windows are different buckets.
pub(crate) fn key(window: Duration, name: &str) -> Arc<str> {
    Arc::from(format!("{} {name}", window.as_millis()))
}

/// What it is called on the wire.
pub(crate) fn name(key: &str) -> &str {
    parts(key).map_or(key, |(_, name)| name)
}

/// The window and the name of a key.
pub(super) fn parts(key: &str) -> Option<(Duration, &str)> {
    let (window, name) = key.split_once(' ')?;
    Some((Duration::from_millis(window.parse().ok()?), name))
}

impl Bucket {
    fn of(key: &str) -> Self {
        let window = parts(key).map_or(Duration::ZERO, |(window, _)| window);
        Self { window, amount: 0, open: 0, log: VecDeque::new(), logged: 0, look: None, written: false }
    }

    /// Forgets what does not count any more.
    fn pass(&mut self, now: Instant) {
        while let Some((_, amount)) = self.log.pop_front_if(|(until, _)| *until <= now) {
            self.logged -= amount;
        }
    }

    fn spend(&mut self, amount: u64, now: Instant) {
        if amount == 0 {
            return;
        }
        self.written = true;
        self.logged += amount;
        match self.log.back_mut() {
            Some((until, spent)) if *until >= now + self.window => *spent += amount,
            _ => self.log.push_back((now + self.window + self.window / SLICES, amount)),
        }
    }

    /// When so much more may be had; none when it may be now. What others are allowed may be given back at any time, so
    /// for that no more than `patience` is named.
    fn pause(&self, amount: u64, more: u64, patience: Duration, now: Instant) -> Option<Duration> {
        let mut lacking = (self.open + self.logged + more).saturating_sub(amount);
        if lacking == 0 {
            return None;
        }
        for (until, spent) in &self.log {
            lacking = lacking.saturating_sub(*spent);
            if lacking == 0 {
                return Some(*until - now);
            }
        }
        Some(self.window.min(patience))
    }

    /// How much more there is, at most `most`.
    fn room(&self, amount: u64, most: u64) -> u64 {
        amount.saturating_sub(self.open + self.logged).min(most)
    }

    /// `for how long yet, ms:amount …`
    fn record(&self, now: Instant) -> String {
        let mut record = String::new();
        for (until, amount) in &self.log {
            // Writing to a String cannot fail.
            write!(record, "{}:{amount} ", (*until - now).as_millis() + 1).ok();
        }
        record
    }
}

impl Book {
    /// What stands in the way of a request by its rates: the longest pause, with its rate.
    pub(super) fn paced(
        &mut self,
        rates: &[ClaimedRate],
        drawn: &[Drawn],
        now: Instant,
    ) -> Option<(Duration, Arc<str>)> {
        let mut paced = None;
        for rate in rates {
            let had = drawn.iter().find(|drawn| drawn.key == rate.key).map_or(0, |drawn| drawn.allowed);
            let patience = self.lifetime;
            let bucket = self.bucket(&rate.key, now);
            bucket.amount = rate.amount;
            let least = rate.least.saturating_sub(had).min(rate.amount);
            let pause = bucket.pause(rate.amount, least, patience, now);
            paced = paced.max(pause.map(|pause| (pause, Arc::clone(&rate.key))));
            self.forget_if_empty(&rate.key);
        }
        paced
    }

    /// Charges what a new lease is allowed: of each rate the most there is.
    pub(super) fn allow(&mut self, rates: &[ClaimedRate], now: Instant) -> Vec<Drawn> {
        let allow = |rate: &ClaimedRate| {
            let bucket = self.bucket(&rate.key, now);
            let allowed = bucket.room(rate.amount, rate.most);
            bucket.open += allowed;
            Drawn { key: Arc::clone(&rate.key), allowed, spent: 0 }
        };
        rates.iter().map(allow).collect()
    }

    /// Allows a lease more: the least of all its rates, or nothing.
    pub(crate) fn draw(&mut self, id: Uuid, rates: &[ClaimedRate], now: Instant) -> Drawing {
        let Some(mut drawn) = self.told(id, rates, now) else { return Drawing::Lost };
        let known = |rate: &&ClaimedRate| drawn.iter().any(|had| had.key == rate.key);
        let known: Vec<_> = rates.iter().filter(known).cloned().collect();
        let quiet = self.quiet_for(now);
        match self.paced(&known, &drawn, now) {
            Some((pause, key)) => return Drawing::Spent { pause, key },
            None if !quiet.is_zero() => return Drawing::Spent { pause: quiet, key: Arc::from("") },
            None => {}
        }
        let allowed = |rate: &ClaimedRate| {
            let Some(had) = drawn.iter_mut().find(|had| had.key == rate.key) else { return 0 };
            let bucket = self.bucket(&rate.key, now);
            let more = bucket.room(rate.amount, rate.most.saturating_sub(had.allowed));
            bucket.open += more;
            had.allowed += more;
            had.allowed
        };
        let allowed = rates.iter().map(allowed).collect();
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.rates = drawn;
            self.changed.insert(id);
        }
        Drawing::Allowed(allowed)
    }

    /// Takes in what a worker says of a lease that it holds: what it was told that it may use, and what it spent of that.
    /// Both are true, whatever is known here. None when the lease is not held any more.
    pub(crate) fn told(&mut self, id: Uuid, rates: &[ClaimedRate], now: Instant) -> Option<Vec<Drawn>> {
        let lease = self.leases.get(&id).filter(|lease| lease.state != super::State::InDoubt)?;
        let mut drawn = lease.rates.clone();
        for had in &mut drawn {
            let Some(rate) = rates.iter().find(|rate| rate.key == had.key) else { continue };
            let spent = rate.spent.max(had.spent);
            let bucket = self.bucket(&had.key, now);
            bucket.open -= had.allowed - had.spent;
            had.allowed = had.allowed.max(rate.allowed).max(spent);
            bucket.open += had.allowed - spent;
            if spent > had.spent {
                bucket.spend(spent - had.spent, now);
                had.spent = spent;
                self.looks(&had.key);
                self.changed_rates.insert(Arc::clone(&had.key));
            }
        }
        if let Some(lease) = self.leases.get_mut(&id)
            && lease.rates != drawn
        {
            lease.rates.clone_from(&drawn);
            self.changed.insert(id);
        }
        Some(drawn)
    }

    /// What a lease that is given back spent in all. What it was allowed beside that is free; what it spent counts with its end.
    pub(crate) fn spent(&mut self, id: Uuid, spent: &[(Arc<str>, u64)], now: Instant) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let mut drawn = mem::take(&mut lease.rates);
        for had in &mut drawn {
            let Some((_, spent)) = spent.iter().find(|(key, _)| *key == had.key) else { continue };
            let allowed = (*spent).max(had.spent);
            let bucket = self.bucket(&had.key, now);
            bucket.open = bucket.open + allowed - had.allowed;
            had.allowed = allowed;
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.rates = drawn;
            self.changed.insert(id);
        }
    }

    /// What a lease had is spent, as far as nobody said otherwise.
    pub(super) fn settle_rates(&mut self, drawn: &[Drawn], now: Instant) {
        for Drawn { key, allowed, spent } in drawn {
            let bucket = self.bucket(key, now);
            bucket.open -= allowed - spent;
            if allowed > spent {
                bucket.spend(allowed - spent, now);
                self.changed_rates.insert(Arc::clone(key));
            }
            self.looks(key);
            self.forget_if_empty(key);
        }
    }

    /// What the lease is allowed of each of its rates, in the order they were asked for.
    pub(crate) fn allowed(&self, id: Uuid) -> Vec<u64> {
        let allowed = |drawn: &Drawn| drawn.allowed;
        self.leases.get(&id).map(|lease| lease.rates.iter().map(allowed).collect()).unwrap_or_default()
    }

    /// Lets what was spent long enough ago count no more.
    pub(super) fn pass_rates(&mut self, now: Instant) {
        while let Some((at, key)) = self.rate_looks.first().cloned()
            && at <= now
        {
            self.rate_looks.pop_first();
            if let Some(bucket) = self.rates.get_mut(&key) {
                bucket.look = None;
                bucket.pass(now);
            }
            self.looks(&key);
            self.forget_if_empty(&key);
        }
    }

    fn bucket(&mut self, key: &Arc<str>, now: Instant) -> &mut Bucket {
        let bucket = self.rates.entry(Arc::clone(key)).or_insert_with(|| Bucket::of(key));
        bucket.pass(now);
        bucket
    }

    /// Sees to it that the bucket is looked at when nothing of what is in it now counts any more.
    fn looks(&mut self, key: &Arc<str>) {
        let Some(bucket) = self.rates.get_mut(key) else { return };
        if bucket.look.is_none()
            && let Some((until, _)) = bucket.log.back()
        {
            bucket.look = Some(*until);
            self.rate_looks.insert((*until, Arc::clone(key)));
        }
    }

    /// A bucket that nothing counts in is not kept.
    fn forget_if_empty(&mut self, key: &Arc<str>) {
        let Some(bucket) = self.rates.get(key).filter(|bucket| bucket.open + bucket.logged == 0) else {
            return;
        };
        if let Some(at) = bucket.look {
            self.rate_looks.remove(&(at, Arc::clone(key)));
        }
        if bucket.written {
            self.changed_rates.insert(Arc::clone(key));
        }
        self.rates.remove(key);
    }

    /// As the journal has it; empty when nothing is spent.
    pub(super) fn rate_record(&self, key: &Arc<str>, now: Instant) -> String {
        self.rates.get(key).map(|bucket| bucket.record(now)).unwrap_or_default()
    }

    /// Takes in what another coordinator wrote down. It counts for as long as it did when that was written: no record
    /// holds a time. False when it is not understood.
    pub(crate) fn load_rate(&mut self, key: &str, record: &str, now: Instant) -> bool {
        let Some((window, _)) = parts(key) else { return false };
        let most = window + window / SLICES;
        let read = |word: &str| {
            let (pause, amount) = word.split_once(':')?;
            let pause = Duration::from_millis(pause.parse().ok()?);
            Some((now + pause.min(most), amount.parse().ok()?))
        };
        let log: Option<VecDeque<(Instant, u64)>> = record.split_whitespace().map(read).collect();
        let Some(log) = log else { return false };
        let key = Arc::from(key);
        let bucket = self.bucket(&key, now);
        // A scan of Redis may find it twice.
        if bucket.logged == 0 {
            bucket.logged = log.iter().map(|(_, amount)| amount).sum();
            bucket.log = log;
            bucket.written = true;
        }
        self.looks(&key);
        true
    }

    /// Charges what a lease of the journal has.
    pub(super) fn load_drawn(&mut self, drawn: &[Drawn], now: Instant) {
        for Drawn { key, allowed, spent } in drawn {
            self.bucket(key, now).open += allowed - spent;
        }
    }
}

//! The ledger's rules, in memory: who holds a slot of which limit, who waits, and whose turn is next.
//!
//! It does no I/O and reads no clock: the coordinator that holds the pen tells it what happens and when, and tells nobody
//! what was decided before Redis has it. It must never charge a slot less than a worker may still use it, and never let
//! a class wait behind a lent slot longer than that slot's cycle.

mod claim;
mod limit;
#[cfg(test)]
mod oracle;
mod rate;
mod record;
mod remembered;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use model::workload::ServiceClass;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::claim::{Claim, ClaimedLimit, Terms, class_at};
use self::limit::Limit;
use self::rate::{Bucket, Drawn};
pub(crate) use self::rate::{ClaimedRate, Drawing, key as rate_key, name as rate_name};
pub(crate) use self::record::Changes;
use self::remembered::Remembered;

/// What the book says to a request, now or when its turn comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Held. The request waited so long for it.
    Granted { waited: Duration },
    /// In the queue; another verdict follows.
    Waiting,
    /// Not in time.
    Full { key: Arc<str> },
    /// The server asked to be left alone.
    HeldBack { pause: Duration, key: Arc<str> },
    /// The ledger lost its data and grants nothing yet.
    Quiet { pause: Duration },
    /// A rate is spent for now.
    Spent { pause: Duration, key: Arc<str> },
}

/// A verdict with whom it is for.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) lease: Uuid,
    pub(crate) stream: Uuid,
    pub(crate) verdict: Verdict,
}

/// What a release found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    Lease,
    Place,
    Nothing,
}

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its worker is there, as far as is known.
    Live,
    /// Its stream was seen to end: free with the end of the lease, unless renewed over another stream.
    Ended,
    /// It ended while its worker was silent, or its worker heard nothing of the server at the end.
    InDoubt,
}

#[derive(Clone, Debug)]
struct Lease {
    class: usize,
    state: State,
    stream: Uuid,
    /// Charged until then.
    ends: Instant,
    in_doubt: Duration,
    holder: String,
    keys: Vec<Arc<str>>,
    rates: Vec<Drawn>,
}

#[derive(Clone, Debug)]
struct Ticket {
    claim: Claim,
    place: u64,
    received: Instant,
    deadline: Instant,
    waits_at: Vec<Arc<str>>,
}

/// Everything that is known about leases.
#[derive(Debug)]
pub(crate) struct Book {
    lifetime: Duration,
    limits: HashMap<Arc<str>, Limit>,
    leases: HashMap<Uuid, Lease>,
    endings: BTreeSet<(Instant, Uuid)>,
    tickets: HashMap<Uuid, Ticket>,
    deadlines: BTreeSet<(Instant, Uuid)>,
    next_place: u64,
    holds: BTreeSet<(Instant, Arc<str>)>,
    remembered: Remembered,
    rates: HashMap<Arc<str>, Bucket>,
    rate_looks: BTreeSet<(Instant, Arc<str>)>,
    quiet_until: Option<Instant>,
    /// Limits where a slot may have come free, or that may have nothing left to remember.
    touched: Vec<Arc<str>>,
    decisions: Vec<Decision>,
    /// Leases that the journal does not have as they are here.
    changed: HashSet<Uuid>,
    changed_holds: HashSet<Arc<str>>,
    changed_rates: HashSet<Arc<str>>,
}

impl Book {
    /// An empty book, for leases that last so long.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            limits: HashMap::new(),
            leases: HashMap::new(),
            endings: BTreeSet::new(),
            tickets: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_place: 0,
            holds: BTreeSet::new(),
            remembered: Remembered::default(),
            rates: HashMap::new(),
            rate_looks: BTreeSet::new(),
            quiet_until: None,
            touched: Vec::new(),
            decisions: Vec::new(),
            changed: HashSet::new(),
            changed_holds: HashSet::new(),
            changed_rates: HashSet::new(),
        }
    }

    /// Takes one slot of every limit of the claim, or queues for them until the deadline. The same request again keeps
    /// its lease or its place, whatever stream it comes over.
    pub(crate) fn acquire(&mut self, claim: Claim, received: Instant, deadline: Instant, now: Instant) {
        let mut held_back = None;
        for wanted in &claim.limits {
            let limit = self.limits.entry(Arc::clone(&wanted.key));
            let limit = limit.or_insert_with(|| self.remembered.limit(&wanted.key, now));
            if limit.configure(wanted.version, &wanted.terms) {
                self.touched.push(Arc::clone(&wanted.key));
            }
            if let Some(until) = limit.held_back_until.filter(|until| *until > now) {
                held_back = held_back.max(Some((until - now, Arc::clone(&wanted.key))));
            }
        }
        if let Some(lease) = self.leases.get_mut(&claim.id) {
            lease.stream = claim.stream;
            self.live_on(claim.id, now);
            let waited = now.saturating_duration_since(received);
            self.decide(claim.id, claim.stream, Verdict::Granted { waited });
            return;
        }
        let place = self.forget(claim.id).map(|ticket| ticket.place);
        let place = place.unwrap_or_else(|| {
            self.next_place += 1;
            self.next_place
        });
        let quiet = self.quiet_for(now);
        if !quiet.is_zero() || held_back.is_some() {
            self.touched.extend(claim.keys());
            let verdict = match held_back {
                Some((pause, key)) if quiet.is_zero() => Verdict::HeldBack { pause, key },
                _ => Verdict::Quiet { pause: quiet },
            };
            self.decide(claim.id, claim.stream, verdict);
        } else {
            self.present(Ticket { claim, place, received, deadline, waits_at: Vec::new() }, now);
        }
        self.settle(now);
    }

    /// Grants a request or puts it where it has to wait. It must stand in no queue.
    fn present(&mut self, mut ticket: Ticket, now: Instant) {
        let (id, stream, class) = (ticket.claim.id, ticket.claim.stream, ticket.claim.class);
        // Nobody waits here for a rate: a window may be long, and whoever waits keeps others from the queue.
        if !ticket.claim.rates.is_empty()
            && let Some((pause, key)) = self.paced(&ticket.claim.rates, &[], now)
        {
            self.touched.extend(ticket.claim.keys());
            self.decide(id, stream, Verdict::Spent { pause, key });
            return;
        }
        let mut full: Vec<Arc<str>> = Vec::new();
        for wanted in &ticket.claim.limits {
            let limit = self
                .limits
                .entry(Arc::clone(&wanted.key))
                .or_insert_with(|| Limit::new(wanted.version, wanted.terms));
            if !limit.fits(class, ticket.place) {
                full.push(Arc::clone(&wanted.key));
            }
        }
        let Some(first) = full.first() else {
            self.grant(ticket, now);
            return;
        };
        if ticket.deadline <= now {
            self.touched.extend(ticket.claim.keys());
            self.decide(id, stream, Verdict::Full { key: Arc::clone(first) });
            return;
        }
        for key in &full {
            if let Some(limit) = self.limits.get_mut(key) {
                limit.join(class, ticket.place, id);
            }
        }
        for key in ticket.claim.keys() {
            if let Some(limit) = self.limits.get_mut(&key) {
                limit.named += 1;
            }
        }
        ticket.waits_at = full;
        self.deadlines.insert((ticket.deadline, id));
        self.tickets.insert(id, ticket);
        self.decide(id, stream, Verdict::Waiting);
    }

    fn grant(&mut self, ticket: Ticket, now: Instant) {
        let Ticket { claim, received, .. } = ticket;
        let keys: Vec<_> = claim.keys().collect();
        for key in &keys {
            if let Some(limit) = self.limits.get_mut(key) {
                limit.take(claim.class);
            }
        }
        let ends = now + self.lifetime;
        self.endings.insert((ends, claim.id));
        let Claim { id, stream, class, holder, in_doubt, rates, .. } = claim;
        let rates = self.allow(&rates, now);
        let lease = Lease { class, state: State::Live, stream, ends, in_doubt, holder, keys, rates };
        self.leases.insert(id, lease);
        self.changed.insert(id);
        let waited = now.saturating_duration_since(received);
        self.decide(id, stream, Verdict::Granted { waited });
    }

    fn decide(&mut self, lease: Uuid, stream: Uuid, verdict: Verdict) {
        self.decisions.push(Decision { lease, stream, verdict });
    }

    /// Counts the life of a lease anew.
    fn live_on(&mut self, id: Uuid, now: Instant) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        self.endings.remove(&(lease.ends, id));
        lease.ends = now + self.lifetime;
        self.endings.insert((lease.ends, id));
        let before = mem::replace(&mut lease.state, State::Live);
        if before != State::Live {
            self.changed.insert(id);
        }
        if before == State::InDoubt {
            for key in &lease.keys {
                if let Some(limit) = self.limits.get_mut(key) {
                    limit.in_doubt -= 1;
                }
            }
        }
    }

    /// Keeps a lease; false when it is not held any more. A lease in doubt is lost: its connection may be gone.
    pub(crate) fn renew(&mut self, id: Uuid, stream: Uuid, now: Instant) -> bool {
        match self.leases.get_mut(&id) {
            Some(lease) if lease.state != State::InDoubt => {
                lease.stream = stream;
                self.live_on(id, now);
                true
            }
            _ => false,
        }
    }

    /// Gives a lease or a place in the queue back.
    pub(crate) fn release(&mut self, id: Uuid, now: Instant) -> Released {
        let released = if self.free(id, now) {
            Released::Lease
        } else if self.forget(id).is_some() {
            Released::Place
        } else {
            return Released::Nothing;
        };
        self.settle(now);
        released
    }

    /// Gives back what may still count for the server: the slots stay charged for the time in doubt, from now. A place in
    /// the queue is given back as it is.
    pub(crate) fn doubt(&mut self, id: Uuid, now: Instant) {
        match self.leases.get_mut(&id) {
            Some(lease) if !lease.in_doubt.is_zero() => {
                let ends = now + lease.in_doubt;
                let ends = if lease.state == State::InDoubt { ends.max(lease.ends) } else { ends };
                self.charge_in_doubt(id, ends);
            }
            _ => {
                self.release(id, now);
            }
        }
    }

    /// The same for a grant that nobody was there to hear of: only while it is bound to the stream that ended.
    pub(crate) fn release_unheard(&mut self, id: Uuid, stream: Uuid, now: Instant) {
        if self.leases.get(&id).is_some_and(|lease| lease.stream == stream) {
            self.release(id, now);
        }
    }

    /// A stream was seen to end: its process is gone, or cannot renew and resets its connections at five sixths.
    pub(crate) fn stream_ended(&mut self, stream: Uuid, now: Instant) {
        for (id, lease) in &mut self.leases {
            if lease.stream == stream && lease.state == State::Live {
                lease.state = State::Ended;
                self.changed.insert(*id);
            }
        }
        let waiting = self.tickets.iter().filter(|(_, ticket)| ticket.claim.stream == stream);
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.forget(id);
        }
        self.settle(now);
    }

    /// Grants nothing under a key for a time; everyone in its queue hears of it at once.
    pub(crate) fn back_off(&mut self, key: &str, pause: Duration, now: Instant) {
        let key: Arc<str> = Arc::from(key);
        let limit = self.limits.entry(Arc::clone(&key)).or_default();
        let until = limit.held_back_until.map_or(now + pause, |until| until.max(now + pause));
        if let Some(before) = limit.held_back_until.replace(until) {
            self.holds.remove(&(before, Arc::clone(&key)));
        }
        self.holds.insert((until, Arc::clone(&key)));
        self.changed_holds.insert(Arc::clone(&key));
        for id in limit.everyone() {
            if let Some(ticket) = self.forget(id) {
                let verdict = Verdict::HeldBack { pause: until - now, key: Arc::clone(&key) };
                self.decide(id, ticket.claim.stream, verdict);
            }
        }
        self.settle(now);
    }

    /// Denies everything for a time: the ledger lost what other coordinators granted.
    pub(crate) fn be_quiet(&mut self, pause: Duration, now: Instant) {
        self.quiet_until = Some(now + pause);
    }

    /// How long nothing is granted yet.
    pub(crate) fn quiet_for(&self, now: Instant) -> Duration {
        self.quiet_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Takes every waiting request out of its queues and tells whose they were.
    pub(crate) fn send_everyone_away(&mut self, now: Instant) -> Vec<(Uuid, Uuid)> {
        let ids: Vec<_> = self.tickets.keys().copied().collect();
        let away = ids.into_iter().filter_map(|id| self.forget(id)).map(|t| (t.claim.id, t.claim.stream));
        let away = away.collect();
        self.settle(now);
        away
    }

    /// Lets time pass: ends leases, deadlines and back-off that are over by now.
    pub(crate) fn pass(&mut self, now: Instant) {
        while let Some(&(ends, id)) = self.endings.first()
            && ends <= now
        {
            self.end(id, now);
        }
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            let Some(ticket) = self.forget(id) else { break };
            let key = ticket.waits_at.first().cloned().unwrap_or_else(|| Arc::from(""));
            self.decide(id, ticket.claim.stream, Verdict::Full { key });
        }
        while let Some((until, key)) = self.holds.first().cloned()
            && until <= now
        {
            self.holds.pop_first();
            if let Some(limit) = self.limits.get_mut(&key) {
                limit.held_back_until = None;
            }
            self.changed_holds.insert(Arc::clone(&key));
            self.touched.push(key);
        }
        self.pass_rates(now);
        if self.quiet_until.is_some_and(|until| until <= now) {
            self.quiet_until = None;
        }
        self.settle(now);
    }

    /// When something ends by itself next.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        let times = [
            self.endings.first().map(|(at, _)| *at),
            self.deadlines.first().map(|(at, _)| *at),
            self.holds.first().map(|(at, _)| *at),
            self.rate_looks.first().map(|(at, _)| *at),
            self.quiet_until,
        ];
        times.into_iter().flatten().min()
    }

    /// The end of a lease that was not renewed. It is free when its stream was seen to end. When its worker only went
    /// silent the slot stays charged for the time in doubt.
    fn end(&mut self, id: Uuid, now: Instant) {
        let Some(lease) = self.leases.get(&id) else { return };
        if lease.state == State::Live && lease.ends + lease.in_doubt > now {
            let ends = lease.ends + lease.in_doubt;
            self.charge_in_doubt(id, ends);
        } else {
            self.free(id, now);
        }
    }

    fn charge_in_doubt(&mut self, id: Uuid, ends: Instant) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        self.endings.remove(&(lease.ends, id));
        lease.ends = ends;
        self.endings.insert((ends, id));
        if mem::replace(&mut lease.state, State::InDoubt) != State::InDoubt {
            for key in &lease.keys {
                if let Some(limit) = self.limits.get_mut(key) {
                    limit.in_doubt += 1;
                }
            }
            self.changed.insert(id);
        }
    }

    fn free(&mut self, id: Uuid, now: Instant) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        self.endings.remove(&(lease.ends, id));
        self.changed.insert(id);
        self.settle_rates(&lease.rates, now);
        for key in lease.keys {
            if let Some(limit) = self.limits.get_mut(&key) {
                limit.give_back(lease.class, lease.state == State::InDoubt);
            }
            self.touched.push(key);
        }
        true
    }

    /// Takes a request out of every queue.
    fn forget(&mut self, id: Uuid) -> Option<Ticket> {
        let ticket = self.tickets.remove(&id)?;
        self.deadlines.remove(&(ticket.deadline, id));
        for key in &ticket.waits_at {
            if let Some(limit) = self.limits.get_mut(key) {
                limit.leave(ticket.claim.class, ticket.place);
            }
        }
        for key in ticket.claim.keys() {
            if let Some(limit) = self.limits.get_mut(&key) {
                limit.named -= 1;
            }
            self.touched.push(key);
        }
        Some(ticket)
    }

    /// Calls who may have the free slots, one after the other, until nobody may; forgets limits that nobody uses. Who is
    /// called gets a lease or leaves the queue of that limit for the one he has to wait in now.
    fn settle(&mut self, now: Instant) {
        // What is left when the turns are used up is looked at with the next event.
        for _ in 0..TURNS {
            let Some(key) = self.touched.pop() else { return };
            let Some(limit) = self.limits.get(&key) else { continue };
            if limit.is_forgotten(now) {
                self.remembered.keep(Arc::clone(&key), limit, now, now + self.lifetime);
                self.limits.remove(&key);
                continue;
            }
            let Some(id) = limit.next() else { continue };
            self.touched.push(key);
            if let Some(mut ticket) = self.forget(id) {
                ticket.waits_at.clear();
                self.present(ticket, now);
            }
        }
    }

    /// Takes what was decided since the last time, in order.
    pub(crate) fn decisions(&mut self) -> Vec<Decision> {
        mem::take(&mut self.decisions)
    }

    /// Whether something was decided or changed that nobody has taken yet.
    pub(crate) fn has_news(&self) -> bool {
        !self.decisions.is_empty()
            || !self.changed.is_empty()
            || !self.changed_holds.is_empty()
            || !self.changed_rates.is_empty()
    }
}

/// How many requests one event may call at most.
const TURNS: usize = 100_000;

const CLASSES: usize = ServiceClass::ALL.len();

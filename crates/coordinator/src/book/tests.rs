//! The book against the oracle, over random histories.

use std::time::Duration;

use ::model::clock;
use ::model::workload::ServiceClass;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use throttle::{Quota, Served, quotas};
use tokio::time::Instant;
use uuid::Uuid;

use super::oracle::{Heard, Model};
use super::{Book, Claim, ClaimedLimit, Released, Terms, Verdict};

const LIMITS: usize = 3;
const LIFE: Duration = Duration::from_secs(30);
/// Longer than any history.
const LONG: Duration = Duration::from_secs(1 << 30);

/// What may happen. Numbers choose among what there is at the time.
#[derive(Clone, Debug)]
enum Event {
    Acquire {
        class: usize,
        limits: Vec<usize>,
        waits: bool,
    },
    Release {
        nth: usize,
    },
    /// The worker heard nothing of the server at the end.
    Doubt {
        nth: usize,
    },
    Renew {
        nth: usize,
    },
    /// Everybody else renews, one does not.
    Expire {
        nth: usize,
        stream_ended: bool,
    },
    Resize {
        limit: usize,
        capacity: u32,
    },
    /// Another coordinator takes over with what is written down.
    TakeOver,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let limits = prop_oneof![
        (0..LIMITS).prop_map(|limit| vec![limit]),
        (0..LIMITS, 1..LIMITS).prop_map(|(first, step)| vec![first, (first + step) % LIMITS]),
    ];
    let event = prop_oneof![
        24 => (0..5_usize, limits, prop::bool::weighted(0.8))
            .prop_map(|(class, limits, waits)| Event::Acquire { class, limits, waits }),
        20 => any::<usize>().prop_map(|nth| Event::Release { nth }),
        3 => any::<usize>().prop_map(|nth| Event::Doubt { nth }),
        4 => any::<usize>().prop_map(|nth| Event::Renew { nth }),
        4 => (any::<usize>(), any::<bool>())
            .prop_map(|(nth, stream_ended)| Event::Expire { nth, stream_ended }),
        4 => (0..LIMITS, 1..6_u32).prop_map(|(limit, capacity)| Event::Resize { limit, capacity }),
        1 => Just(Event::TakeOver),
    ];
    prop::collection::vec(event, 1..120)
}

fn shares() -> impl Strategy<Value = Vec<Served>> {
    prop::collection::vec((0..60_u32, prop_oneof![Just(100_u32), 1..100_u32]), 5).prop_map(|shares| {
        ServiceClass::ALL
            .iter()
            .zip(shares)
            .map(|(&class, (share, ceiling_percent))| Served { class, share, ceiling_percent })
            .collect()
    })
}

/// One history.
struct World {
    book: Book,
    now: Instant,
    model: Model,
    served: Vec<Served>,
    capacities: [u32; LIMITS],
    versions: [u64; LIMITS],
    /// Who asked for what; in the order asked.
    asked: Vec<(Uuid, usize, Vec<usize>)>,
    /// What a journal has.
    written: std::collections::BTreeMap<Uuid, String>,
}

impl World {
    fn new(served: Vec<Served>, capacities: [u32; LIMITS]) -> Self {
        let mut model = Model::new(LIMITS);
        for (limit, &capacity) in capacities.iter().enumerate() {
            model.configure(limit, capacity, &quotas(capacity, &served));
        }
        Self {
            book: Book::new(LIFE),
            now: Instant::now(),
            model,
            served,
            capacities,
            versions: [0; LIMITS],
            asked: Vec::new(),
            written: std::collections::BTreeMap::new(),
        }
    }

    fn quotas(&self, limit: usize) -> Vec<Quota> {
        quotas(self.capacities[limit], &self.served)
    }

    fn claim(&self, id: Uuid, class: usize, limits: &[usize]) -> Claim {
        let limits = limits.iter().map(|&limit| ClaimedLimit {
            key: format!("limit-{limit}").into(),
            version: self.versions[limit],
            terms: Terms::new(self.capacities[limit], false, &self.quotas(limit)),
        });
        Claim {
            id,
            stream: id,
            class,
            limits: limits.collect(),
            holder: String::new(),
            in_doubt: LIFE,
            rates: Vec::new(),
        }
    }

    fn acquire(&mut self, class: usize, limits: &[usize], waits: bool) -> Uuid {
        let id = clock::new_id();
        self.asked.push((id, class, limits.to_vec()));
        let deadline = if waits { self.now + LONG } else { self.now };
        self.book.acquire(self.claim(id, class, limits), self.now, deadline, self.now);
        id
    }

    /// Plays what the book decided to the model, in order, and compares everything.
    fn compare(&mut self) {
        for decision in self.book.decisions() {
            let heard = match decision.verdict {
                Verdict::Granted { .. } => Heard::Granted,
                Verdict::Waiting => Heard::Waiting,
                Verdict::Full { .. } => Heard::Full,
                other => panic!("nobody held anything back: {other:?}"),
            };
            let (id, class, limits) =
                self.asked.iter().find(|asked| asked.0 == decision.lease).cloned().unwrap();
            let before = self.model.clone();
            let expected = self.model.acquire(id, class, &limits, heard != Heard::Full);
            assert_eq!(heard, expected, "class {class} over {limits:?} given {before:#?}");
            if heard == Heard::Granted {
                self.never_too_many(&before, class, &limits);
            }
        }
        self.model.end_of_event();
        assert_eq!(self.model.overlooked(), None, "somebody waits beside a free slot: {:#?}", self.model);
        let shown = self.book.status("", self.now);
        for (at, limit) in self.model.limits.iter().enumerate() {
            let key = format!("limit-{at}");
            let shown = shown.limits.iter().find(|shown| shown.key == key);
            let in_use = |class: usize| shown.map_or(0, |shown| shown.classes[class].in_use);
            assert_eq!([0, 1, 2, 3, 4].map(in_use), limit.held, "counts of {key}");
        }
        let changes = self.book.changes(self.now);
        self.written.extend(changes.written);
        for id in changes.erased {
            self.written.remove(&id);
        }
        assert!(
            self.written.keys().eq(self.model.leases.keys()),
            "every lease is written down, and no other"
        );
    }

    /// What a grant must never do, whatever the model thinks.
    fn never_too_many(&self, before: &Model, class: usize, limits: &[usize]) {
        for &at in limits {
            let (limit, was) = (&self.model.limits[at], &before.limits[at]);
            let (minimum, ceiling) = limit.quotas[&class];
            assert!(limit.held.iter().sum::<u32>() <= limit.capacity, "over the limit");
            assert!(limit.held[class] <= ceiling, "over the ceiling");
            // The last free slot goes to a class below its minimum while one waits; a turn that is owed aside.
            let last = was.held.iter().sum::<u32>() + 1 == was.capacity;
            let in_turn = minimum == 0 && was.held[class] == 0;
            if last && was.held[class] >= minimum && !in_turn {
                assert_eq!(before.below_minimum(at), [].into(), "class {class} took what others are due");
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Acquire { class, limits, waits } => {
                self.acquire(class, &limits, waits);
            }
            Event::Release { nth } => {
                let Some(id) = self.chosen(nth) else { return };
                assert_eq!(self.book.release(id, self.now), self.model.release(id));
            }
            Event::Doubt { nth } => {
                let Some(id) = self.chosen(nth) else { return };
                self.book.doubt(id, self.now);
                self.model.doubt(id);
                let charged = self.book.leases.get(&id).map(|lease| lease.ends);
                assert!(charged.is_none_or(|ends| ends >= self.now + LIFE), "free before the server's time");
            }
            Event::Renew { nth } => {
                let Some(id) = self.chosen(nth) else { return };
                assert_eq!(self.book.renew(id, id, self.now), self.model.renew(id));
            }
            Event::Expire { nth, stream_ended } => {
                let held: Vec<_> = self.model.leases.keys().copied().collect();
                if held.is_empty() {
                    return;
                }
                let silent = held[nth % held.len()];
                self.now += LIFE.saturating_sub(Duration::from_millis(1));
                for id in held.into_iter().filter(|id| *id != silent) {
                    assert_eq!(self.book.renew(id, id, self.now), self.model.renew(id));
                }
                if stream_ended {
                    self.book.stream_ended(silent, self.now);
                }
                // A lease in doubt may be renewed by nobody, so its time runs too.
                let ends: Vec<_> = self
                    .model
                    .leases
                    .keys()
                    .copied()
                    .filter(|id| *id == silent || !self.model.renew(*id))
                    .filter(|id| self.book.leases[id].ends <= self.now + Duration::from_millis(1))
                    .collect();
                self.now += Duration::from_millis(1);
                self.book.pass(self.now);
                for id in ends {
                    self.model.expire(id, stream_ended && id == silent);
                }
            }
            Event::Resize { limit, capacity } => {
                self.capacities[limit] = capacity;
                self.versions[limit] += 1;
                let quotas = self.quotas(limit);
                self.model.configure(limit, capacity, &quotas);
                // The book hears of it with the next request.
                let id = self.acquire(0, &[limit], false);
                self.compare();
                assert_eq!(self.book.release(id, self.now), self.model.release(id));
            }
            Event::TakeOver => {
                let mut next = Book::new(LIFE);
                // Whoever scans the journal may be given an element twice.
                for (id, record) in self.written.iter().chain(&self.written) {
                    assert!(next.load(*id, record, self.now), "{record}");
                }
                self.book = next;
                // Workers come back with what they hold.
                for id in self.model.leases.keys() {
                    assert_eq!(self.book.renew(*id, *id, self.now), self.model.renew(*id));
                }
                // Turns and queues are forgotten; who waited asks again.
                self.model = self.model.without_queues();
            }
        }
        self.compare();
    }

    fn chosen(&self, nth: usize) -> Option<Uuid> {
        let all: Vec<_> = self
            .model
            .leases
            .keys()
            .copied()
            .chain(self.model.queue.iter().map(|ticket| ticket.id))
            .collect();
        (!all.is_empty()).then(|| all[nth % all.len()])
    }
}

#[test]
fn the_book_decides_as_the_model_does_over_random_histories() {
    let runs = Runs { cases: 400, failure_persistence: None, ..Runs::default() };
    let mut runner = TestRunner::new(runs);
    let histories = (events(), shares(), [1..6_u32, 1..6, 1..6]);
    let result = runner.run(&histories, |(events, served, capacities)| {
        let mut world = World::new(served, capacities);
        for event in events {
            world.happen(event);
        }
        // In the end everything comes back and nothing is left.
        while let Some(id) = world.chosen(0) {
            assert_ne!(world.book.release(id, world.now), Released::Nothing);
            world.model.release(id);
            world.compare();
        }
        let Book { limits, leases, endings, tickets, deadlines, .. } = &world.book;
        assert!(limits.is_empty() && leases.is_empty() && tickets.is_empty());
        assert!(endings.is_empty() && deadlines.is_empty());
        Ok(())
    });
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

#[test]
fn every_class_that_waits_is_served_within_two_rounds() {
    let mut runner = TestRunner::new(Runs { cases: 40, failure_persistence: None, ..Runs::default() });
    let result = runner.run(&(shares(), 1..12_u32), |(served, capacity)| {
        let mut world = World::new(served, [capacity; LIMITS]);
        // Three of every class always wait; the oldest lease ends first.
        let mut grants: Vec<usize> = Vec::new();
        let mut oldest = std::collections::VecDeque::new();
        let mut known = std::collections::HashSet::new();
        let round = capacity as usize + 5;
        while grants.len() < round * 6 {
            for class in 0..5 {
                while world.model.queue.iter().filter(|ticket| ticket.class == class).count() < 3 {
                    let ceiling = world.model.limits[0].quotas[&class].1;
                    world.happen(Event::Acquire { class, limits: vec![0], waits: true });
                    assert!(world.model.limits[0].held[class] <= ceiling);
                }
            }
            let new: Vec<_> = world.model.leases.keys().filter(|id| !known.contains(*id)).copied().collect();
            for id in new {
                known.insert(id);
                oldest.push_back(id);
                grants.push(world.asked.iter().find(|asked| asked.0 == id).unwrap().1);
            }
            if let Some(id) = oldest.pop_front() {
                world.model.release(id);
                world.book.release(id, world.now);
                world.compare();
            }
        }
        for window in grants[round..].windows(round * 2) {
            for class in 0..5 {
                assert!(window.contains(&class), "class {class} starves in {window:?}");
            }
        }
        Ok(())
    });
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

#[test]
fn an_older_setting_does_not_come_back_while_somebody_may_still_ask_by_it() {
    let mut book = Book::new(LIFE);
    let mut now = Instant::now();
    let ask = |book: &mut Book, capacity: u32, version: u64, now: Instant| {
        let mut terms = Terms { capacity, ..Terms::default() };
        terms.quotas[0] = Some((capacity, capacity));
        let (id, limits) = (clock::new_id(), vec![ClaimedLimit { key: "server".into(), version, terms }]);
        let claim = Claim {
            id,
            stream: id,
            class: 0,
            limits,
            holder: String::new(),
            in_doubt: Duration::ZERO,
            rates: Vec::new(),
        };
        book.acquire(claim, now, now, now);
        let granted = book.decisions().iter().any(|said| matches!(said.verdict, Verdict::Granted { .. }));
        granted.then_some(id)
    };
    // It was lowered to two, and nobody uses it any more.
    let last = ask(&mut book, 2, 2, now).unwrap();
    book.release(last, now);
    assert!(book.limits.is_empty());
    // Those read it before that.
    now += LIFE.saturating_sub(Duration::from_millis(1));
    let held: Vec<Uuid> = (0..5).filter_map(|_| ask(&mut book, 10, 1, now)).collect();
    assert_eq!(held.len(), 2, "the older setting allowed ten");
    for id in held {
        book.release(id, now);
    }
    // Nobody asks by a setting that is older than a lease's life, and nothing is kept for longer.
    now += LIFE;
    assert!(ask(&mut book, 10, 1, now).is_some());
    for _ in 0..3 {
        let id = ask(&mut book, 10, 1, now).unwrap();
        book.release(id, now);
    }
    book.pass(now + LIFE);
    assert!(book.remembered.count() <= 1, "{:?}", book.remembered);
}

//! The script on a real Redis against the model, over random histories.

use std::time::Duration;

use ::model::clock;
use ::model::secret::Secret;
use ::model::workload::ServiceClass;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use servers::Redis;
use throttle::{Quota, Served, quotas};
use uuid::Uuid;

use super::model::Model;
use super::{Claim, ClaimedLimit, Ledger, Request, Verdict, connect, open, status};
use crate::config::Config;

const LIMITS: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// What may happen. Numbers choose among what there is at the time.
#[derive(Clone, Debug)]
enum Event {
    Acquire { coordinator: usize, class: usize, limits: Vec<usize>, waits: bool },
    Release { coordinator: usize, nth: usize },
    Renew { nth: usize },
    Expire { nth: usize, stream_ended: bool },
    Resize { limit: usize, capacity: u32 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let limits = prop_oneof![
        (0..LIMITS).prop_map(|limit| vec![limit]),
        (0..LIMITS, 1..LIMITS).prop_map(|(first, step)| vec![first, (first + step) % LIMITS]),
    ];
    let event = prop_oneof![
        6 => (0..2_usize, 0..5_usize, limits, prop::bool::weighted(0.8)).prop_map(
            |(coordinator, class, limits, waits)| Event::Acquire { coordinator, class, limits, waits }
        ),
        5 => (0..2_usize, any::<usize>()).prop_map(|(coordinator, nth)| Event::Release { coordinator, nth }),
        1 => any::<usize>().prop_map(|nth| Event::Renew { nth }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(nth, stream_ended)| Event::Expire { nth, stream_ended }),
        1 => (0..LIMITS, 1..6_u32).prop_map(|(limit, capacity)| Event::Resize { limit, capacity }),
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

/// One history on one ledger of its own.
struct World {
    ledgers: [Ledger; 2],
    redis: MultiplexedConnection,
    prefix: String,
    model: Model,
    served: Vec<Served>,
    capacities: [u32; LIMITS],
    versions: [u64; LIMITS],
    /// Who asked for what; in the order asked.
    asked: Vec<(Uuid, usize, usize, Vec<usize>)>,
}

fn config(redis: &Redis, key_prefix: String) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        token: Secret::from("token"),
        tls_certificate_file: String::new(),
        tls_key_file: String::new(),
        redis_url: Secret::from(redis.url()),
        key_prefix,
        redis_timeout_millis: 10_000,
        lease_millis: 3_600_000,
        renew_millis: 1_000,
        retry_seconds: 30,
        recheck_millis: 200,
        quiet_after_loss_millis: 3_600_000,
        batch: 128,
    }
}

impl World {
    async fn new(redis: &Redis, served: Vec<Served>, capacities: [u32; LIMITS]) -> Self {
        let config = config(redis, clock::new_id::<Uuid>().to_string());
        let ledger = || {
            let mut ledger = Ledger::new(&config, clock::new_id()).unwrap();
            ledger.silent = HOUR;
            ledger
        };
        let client = open(&config.redis_url).unwrap();
        let redis = connect(&client, Duration::from_secs(10)).await.unwrap();
        let mut model = Model::new(LIMITS);
        for (limit, &capacity) in capacities.iter().enumerate() {
            model.configure(limit, capacity, &quotas(capacity, &served));
        }
        let ledgers = [ledger(), ledger()];
        let prefix = config.prefix();
        Self { ledgers, redis, prefix, model, served, capacities, versions: [0; LIMITS], asked: Vec::new() }
    }

    fn quotas(&self, limit: usize) -> Vec<Quota> {
        quotas(self.capacities[limit], &self.served)
    }

    fn acquire_request(&self, id: Uuid, class: usize, limits: &[usize], waits: bool, again: bool) -> Request {
        let claimed = limits.iter().map(|&limit| {
            let (key, version) = (format!("limit-{limit}"), self.versions[limit]);
            ClaimedLimit::new(key, version, self.capacities[limit], false, &self.quotas(limit))
        });
        let claim = Claim {
            id,
            stream: id,
            class: ServiceClass::ALL[class],
            limits: claimed.collect(),
            holder: String::new(),
            in_doubt: HOUR,
        };
        Request::Acquire { claim, wait: if waits { HOUR } else { Duration::ZERO }, again }
    }

    /// One request to both, the ledger and the model; presents whoever is called until nobody is.
    async fn present(&mut self, coordinator: usize, id: Uuid, waits: bool, again: bool) {
        let mut next = vec![(coordinator, id, waits, again)];
        while let Some((coordinator, id, waits, again)) = next.pop() {
            let Some((_, _, class, limits)) = self.asked.iter().find(|asked| asked.0 == id).cloned() else {
                continue;
            };
            if again && !self.model.queue.iter().any(|ticket| ticket.id == id) {
                continue;
            }
            let request = self.acquire_request(id, class, &limits, waits, again);
            let before = self.model.clone();
            let expected = self.model.acquire(id, class, &limits, waits);
            self.model.end_of_call();
            let answer = self.ledgers[coordinator].decide(&[request]).await.unwrap();
            let verdict = match answer.verdicts[0].clone() {
                Verdict::Full { .. } => Verdict::Full { key: String::new() },
                verdict => verdict,
            };
            assert_eq!(verdict, expected, "class {class} over {limits:?} given {before:#?}");
            if verdict == Verdict::Granted {
                self.never_too_many(&before, class, &limits);
            }
            next.extend(answer.wakes.into_iter().map(|id| (coordinator, id, true, true)));
        }
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

    async fn others(&mut self, coordinator: usize, request: Request) -> Verdict {
        let answer = self.ledgers[coordinator].decide(&[request]).await.unwrap();
        self.model.end_of_call();
        for id in answer.wakes {
            self.present(coordinator, id, true, true).await;
        }
        answer.verdicts[0].clone()
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Acquire { coordinator, class, limits, waits } => {
                let id = clock::new_id();
                self.asked.push((id, coordinator, class, limits));
                self.present(coordinator, id, waits, false).await;
            }
            Event::Release { coordinator, nth } => {
                let Some(id) = self.chosen(nth) else { return };
                let expected = self.model.release(id);
                let verdict = self.others(coordinator, Request::Release { id, stream: None }).await;
                assert_eq!(verdict, expected);
            }
            Event::Renew { nth } => {
                let Some(id) = self.chosen(nth) else { return };
                let expected = self.model.renew(id);
                assert_eq!(self.others(0, Request::Renew { id, stream: id }).await, expected);
            }
            Event::Expire { nth, stream_ended } => {
                let held: Vec<_> = self.model.leases.keys().copied().collect();
                if held.is_empty() {
                    return;
                }
                let id = held[nth % held.len()];
                if stream_ended {
                    self.others(1, Request::Ended { stream: id }).await;
                }
                self.pass_its_time(id).await;
                self.model.expire(id, stream_ended);
                self.others(1, Request::Poke { key: "none".to_owned() }).await;
            }
            Event::Resize { limit, capacity } => {
                self.capacities[limit] = capacity;
                self.versions[limit] += 1;
                let quotas = self.quotas(limit);
                // The ledger hears of it with the next request, so make one that is refused or taken back.
                self.model.configure(limit, capacity, &quotas);
                let id = clock::new_id();
                self.asked.push((id, 0, 0, vec![limit]));
                self.present(0, id, false, false).await;
                let expected = self.model.release(id);
                assert_eq!(self.others(0, Request::Release { id, stream: None }).await, expected);
            }
        }
        self.settle().await;
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

    /// Moves the end of a lease into the past.
    async fn pass_its_time(&mut self, id: Uuid) {
        let (seconds, _): (u64, u64) = redis::cmd("TIME").query_async(&mut self.redis).await.unwrap();
        let past = seconds * 1000 - 1;
        let key = format!("{}expiry", self.prefix);
        let () = self.redis.zadd(key, id.to_string(), past).await.unwrap();
    }

    /// Pokes as the recheck does until nobody is called, then compares everything.
    async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 2 {
            quiet += 1;
            for coordinator in 0..2 {
                let pokes: Vec<_> =
                    (0..LIMITS).map(|limit| Request::Poke { key: format!("limit-{limit}") }).collect();
                let answer = self.ledgers[coordinator].decide(&pokes).await.unwrap();
                self.model.end_of_call();
                for id in answer.wakes {
                    quiet = 0;
                    self.present(coordinator, id, true, true).await;
                }
            }
        }
        assert_eq!(self.model.overlooked(), None, "somebody waits beside a free slot: {:#?}", self.model);
        let shown = status::read(&mut self.redis, &self.prefix, "").await.unwrap();
        for (at, limit) in self.model.limits.iter().enumerate() {
            let key = format!("limit-{at}");
            let shown = shown.limits.iter().find(|shown| shown.key == key);
            let in_use = |class: usize| shown.map_or(0, |shown| shown.classes[class].in_use);
            assert_eq!([0, 1, 2, 3, 4].map(in_use), limit.held, "counts of {key}");
        }
    }
}

#[test]
fn the_script_decides_as_the_model_does_over_random_histories() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start());
    let cases = 64;
    let mut runner = TestRunner::new(Runs { cases, failure_persistence: None, ..Runs::default() });
    let histories = (events(), shares(), [1..6_u32, 1..6, 1..6]);
    let result = runner.run(&histories, |(events, served, capacities)| {
        runtime.block_on(async {
            let mut world = World::new(&redis, served, capacities).await;
            for event in events {
                world.happen(event).await;
            }
            // In the end everything comes back and nothing is left.
            while let Some(id) = world.chosen(0) {
                world.model.release(id);
                world.others(0, Request::Release { id, stream: None }).await;
                world.settle().await;
            }
            let left: Vec<String> = world.redis.keys(format!("{}*", world.prefix)).await.unwrap();
            let stays = ["seen", "epoch", "place", "ended:"];
            let left: Vec<_> = left
                .iter()
                .filter(|key| !stays.iter().any(|name| key[world.prefix.len()..].starts_with(name)))
                .collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        });
        Ok(())
    });
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

#[test]
fn every_class_that_waits_is_served_within_two_rounds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start());
    let mut runner = TestRunner::new(Runs { cases: 16, failure_persistence: None, ..Runs::default() });
    let result = runner.run(&(shares(), 1..12_u32), |(served, capacity)| {
        runtime.block_on(async {
            let mut world = World::new(&redis, served, [capacity; LIMITS]).await;
            // Three of every class always wait; the oldest lease ends first.
            let mut grants: Vec<usize> = Vec::new();
            let mut oldest = std::collections::VecDeque::new();
            let mut known = std::collections::HashSet::new();
            let round = capacity as usize + 5;
            while grants.len() < round * 6 {
                for class in 0..5 {
                    while world.model.queue.iter().filter(|ticket| ticket.class == class).count() < 3 {
                        let ceiling = world.model.limits[0].quotas[&class].1;
                        let held = world.model.limits[0].held[class];
                        world
                            .happen(Event::Acquire { coordinator: 0, class, limits: vec![0], waits: true })
                            .await;
                        assert!(held <= ceiling);
                    }
                }
                let new: Vec<_> =
                    world.model.leases.keys().filter(|id| !known.contains(*id)).copied().collect();
                for id in new {
                    known.insert(id);
                    oldest.push_back(id);
                    grants.push(world.asked.iter().find(|asked| asked.0 == id).unwrap().2);
                }
                if let Some(id) = oldest.pop_front() {
                    world.model.release(id);
                    world.others(0, Request::Release { id, stream: None }).await;
                    world.settle().await;
                }
            }
            for window in grants[round..].windows(round * 2) {
                for class in 0..5 {
                    assert!(window.contains(&class), "class {class} starves in {window:?}");
                }
            }
        });
        Ok(())
    });
    if let Err(problem) = result {
        panic!("{problem}");
    }
}

//! The world, one tick of 50 ms after the other: Redis, the coordinators, and what befalls them.

mod coordinators;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use throttle::v1::{coordinator_message::Message, parcel::Content};
use tokio::time::Instant;
use uuid::Uuid;

use self::coordinators::Coordinator;
use crate::book::{Claim, ClaimedLimit, ClaimedRate, Terms, rate_key};
use crate::desk::lead::{Heard, Saying};
use crate::ledger::{Run, Seen};

const TICK: Duration = Duration::from_millis(50);
const TICKS: u32 = 2_100;
const LIFE: Duration = Duration::from_secs(3);
const IN_DOUBT: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(6);
/// How often coordinators show that they are there, and look.
const BEAT: Duration = TICK;
/// How long after its capacity was lowered a server may still have connections of before.
const OLD_ONES: Duration = Duration::from_secs(20);
const CAPACITY: u32 = 2;
/// What there may be in any window of so long.
const RATE: usize = 5;
const WINDOW: Duration = Duration::from_millis(2_500);
const WORKERS: usize = 4;
const COORDINATORS: usize = 2;

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Broken {
    /// Grants are said before they are written down.
    SaidBeforeWritten,
    /// Whoever held the pen may still write.
    NoFence,
    /// The next holder of the pen does not read what the last one wrote.
    NothingRead,
    /// Nothing is quiet when data was lost and nobody remembers it.
    NoQuietTime,
    /// A Redis without a ledger is taken for a new one by who knows of none.
    EmptyTakenForNew,
    /// Who comes back to Redis trusts it when it says that the pen is still its own.
    OwnPenTakenForProof,
    /// A worker says that a connection is closed, and closes it then.
    ReleasedBeforeClosed,
    /// A worker counts the whole life of its lease from the answer.
    CountedFromTheAnswer,
    /// A slot of a silent worker is free with the end of the lease.
    NoDoubt,
    /// A worker that heard nothing of the server says that its connection is closed.
    SilenceTakenForAnEnd,
    /// The next holder of the pen does not read what is spent of rates.
    RatesNotRead,
    /// A worker gives back what it spent.
    SpentGivenBack,
}

impl Broken {
    pub(super) const ALL: &[Self] = &[
        Self::SaidBeforeWritten,
        Self::NoFence,
        Self::NothingRead,
        Self::NoQuietTime,
        Self::EmptyTakenForNew,
        Self::OwnPenTakenForProof,
        Self::ReleasedBeforeClosed,
        Self::CountedFromTheAnswer,
        Self::NoDoubt,
        Self::SilenceTakenForAnEnd,
        Self::RatesNotRead,
        Self::SpentGivenBack,
    ];
}

/// What Redis has.
#[derive(Clone, Default)]
struct Redis {
    book: Seen,
    leases: BTreeMap<Uuid, String>,
    rates: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Asked {
        at: Instant,
    },
    /// Connected until then.
    Holds {
        asked_renewal: Instant,
        until: Instant,
    },
    /// Reset, and to be released; open a little longer when a rule is broken.
    Released {
        closed: Instant,
    },
}

struct Cycle {
    lease: Uuid,
    stage: Stage,
    ends: Instant,
    /// What it may use of the rate, and used.
    allowed: u64,
    spent: u64,
}

#[derive(Default)]
struct Worker {
    cycles: Vec<Cycle>,
    frozen: Option<Instant>,
    /// When it has a stream again.
    cut: Option<Instant>,
    /// The network between it and the server loses everything until then, goodbyes too.
    severed: Option<Instant>,
    /// Leases of which it does not know whether the server closed their connections.
    doubts: Vec<Uuid>,
    heard: VecDeque<(Instant, Content)>,
}

/// A connection as the server counts it.
struct Connection {
    worker: usize,
    lease: Uuid,
    used: Instant,
}

pub(super) struct World {
    seed: u64,
    broken: Option<Broken>,
    now: Instant,
    redis: Redis,
    run: Run,
    /// When Redis fails next, and which coordinator comes back to it then.
    fails: Option<(Instant, usize)>,
    /// What Redis, or the replica that takes its place, goes back to.
    snapshot: Redis,
    coordinators: [Coordinator; COORDINATORS],
    workers: [Worker; WORKERS],
    server: Vec<Connection>,
    /// When the server was asked for something that it counts by a rate.
    asked: VecDeque<Instant>,
    capacity: u32,
    version: u64,
    /// When the capacity was changed last.
    changed: Option<Instant>,
    ids: u128,
    pub(super) connections: u64,
    pub(super) uses: u64,
    pub(super) takeovers: u64,
    pub(super) losses: u64,
}

impl World {
    pub(super) fn new(seed: u64, broken: Option<Broken>) -> Self {
        let now = Instant::now();
        // One Redis in two has a log of its writes.
        let run = Run { id: "0".to_owned(), keeps: seed.is_multiple_of(2) };
        let book = Seen { epoch: Some("begun".to_owned()), run: run.id.clone(), ..Seen::default() };
        let redis = Redis { book, ..Redis::default() };
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            broken,
            now,
            snapshot: redis.clone(),
            fails: None,
            redis,
            run,
            coordinators: std::array::from_fn(|_| Coordinator::new(now)),
            workers: std::array::from_fn(|_| Worker::default()),
            server: Vec::new(),
            asked: VecDeque::new(),
            capacity: CAPACITY,
            version: 1,
            changed: None,
            ids: 0,
            connections: 0,
            uses: 0,
            takeovers: 0,
            losses: 0,
        }
    }

    /// To its end, or to a connection too many, or more in a window than there may be.
    pub(super) fn run(&mut self) -> Result<(), String> {
        for tick in 0..TICKS {
            self.now += TICK;
            self.misfortune();
            for at in 0..COORDINATORS {
                self.coordinate(at);
            }
            for worker in 0..WORKERS {
                self.work(worker);
            }
            // The server closes what nobody used for its idle time.
            self.server.retain(|connection| self.now < connection.used + IN_DOUBT);
            let all = self.changed.is_none_or(|at| self.now > at + OLD_ONES);
            let most = if all { self.capacity } else { CAPACITY };
            if self.server.len() > most as usize {
                return Err(format!("{} connections at tick {tick}", self.server.len()));
            }
            while self.asked.pop_front_if(|at| *at + WINDOW <= self.now).is_some() {}
            if self.asked.len() > RATE {
                return Err(format!("{} uses in a window at tick {tick}", self.asked.len()));
            }
        }
        Ok(())
    }

    /// The next random number (splitmix64).
    fn dice(&mut self, sides: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn soon(&mut self, most_millis: u64) -> Instant {
        self.now + Duration::from_millis(self.dice(most_millis))
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    fn misfortune(&mut self) {
        let one = usize::try_from(self.dice(COORDINATORS as u64)).unwrap();
        match self.dice(150) {
            0 => self.kill_coordinator(one),
            1 => self.coordinators[one].frozen = self.soon(4_000),
            2 | 3 => {
                let until = self.soon(3_000);
                self.cut_off(one, until);
            }
            _ => {}
        }
        match self.dice(1_000) {
            0 => {
                self.redis = Redis::default();
                self.losses += 1;
            }
            1 => self.restart_redis(None),
            // What it goes back to is a while old then.
            3..=12 => self.snapshot = self.redis.clone(),
            13 => {
                // Between one and the most there is.
                self.capacity = CAPACITY + 1 - self.capacity;
                self.version += 1;
                self.changed = Some(self.now);
            }
            // As all was just saved, the holder of the pen is cut off, and some workers go to the other. It comes back as
            // Redis fails.
            14..=18 => {
                if let Some(one) = self.who_decides() {
                    self.snapshot = self.redis.clone();
                    let fails = self.soon(2_500) + LIFE / 2;
                    self.cut_off(one, fails);
                    self.fails = Some((fails, one));
                    for worker in 0..WORKERS / 2 {
                        self.cut(worker, true);
                    }
                }
            }
            _ => {}
        }
        if let Some((at, back)) = self.fails
            && at <= self.now
        {
            self.fails = None;
            self.restart_redis(Some(back));
        }
        let victim = usize::try_from(self.dice(WORKERS as u64)).unwrap();
        match self.dice(120) {
            0 => self.kill(victim),
            // Decision 0003 leaves one gap: who is stopped after his stream was seen to end. It is not looked into here.
            1 if self.workers[victim].cut.is_none() => self.workers[victim].frozen = Some(self.soon(9_000)),
            // A stream is cut; a frozen process's stream lives as long as its system.
            2 if self.workers[victim].frozen.is_none() => self.cut(victim, true),
            // Nor into who loses the server while he reaches no coordinator, after his stream was seen to end.
            3 | 4 if self.workers[victim].cut.is_none() => {
                self.workers[victim].severed = Some(self.soon(4_000));
            }
            _ => {}
        }
    }

    /// It comes back with its log, or with what it saved last, or as the replica that it was copied to.
    fn restart_redis(&mut self, back: Option<usize>) {
        let failover = self.dice(4) == 0;
        if !self.run.keeps || failover {
            self.redis =
                if self.dice(3) == 0 && !failover { Redis::default() } else { self.snapshot.clone() };
            self.losses += 1;
        }
        let id = self.id().to_string();
        self.run = Run { id, keeps: self.run.keeps && !failover };
        for at in (0..COORDINATORS).filter(|at| Some(*at) != back) {
            let until = self.soon(1_000);
            self.cut_off(at, until);
        }
    }

    /// The worker's stream ends. Its coordinator may see that.
    fn cut(&mut self, worker: usize, seen: bool) {
        // Now and then it reaches no coordinator for as long as its leases last.
        let Worker { severed, doubts, .. } = &self.workers[worker];
        let knows = severed.is_none() && doubts.is_empty();
        let longest = if self.dice(6) == 0 && knows { 4_000 } else { 300 };
        let at = self.soon(longest) + TICK;
        for coordinator in &mut self.coordinators {
            if let Some(stream) = coordinator.streams[worker].take()
                && seen
                && let Some(leading) = &mut coordinator.leading
            {
                coordinator.said.retain(|(_, from, _)| *from != stream);
                leading.lead.stream_ended(stream, self.now);
            }
        }
        self.workers[worker].cut = Some(at);
        self.workers[worker].heard.clear();
    }

    /// The process ends: its connections are closed by the system, and its stream is seen to end. What it could not say
    /// itself is the gap of decision 0060: here the server hears of it.
    fn kill(&mut self, worker: usize) {
        self.server.retain(|connection| connection.worker != worker);
        self.workers[worker] = Worker::default();
        self.cut(worker, true);
    }

    fn say(&mut self, at: usize, sayings: Vec<Saying>) {
        for (to, content) in sayings {
            let Some(worker) = self.coordinators[at].streams.iter().position(|s| *s == Some(to)) else {
                if let Content::Answered(message) = content
                    && let Some(Message::Granted(granted)) = message.message
                    && let Some(leading) = &mut self.coordinators[at].leading
                {
                    leading.lead.unheard(granted.lease_id.parse().unwrap(), to, self.now);
                }
                continue;
            };
            let when = self.soon(200).max(self.workers[worker].heard.back().map_or(self.now, |(at, _)| *at));
            self.workers[worker].heard.push_back((when, content));
        }
    }

    fn tell(&mut self, worker: usize, heard: Heard) {
        let when = self.soon(200);
        for coordinator in &mut self.coordinators {
            if let Some(stream) = coordinator.streams[worker] {
                let when = when.max(coordinator.said.back().map_or(when, |(at, _, _)| *at));
                let heard = match heard {
                    Heard::Acquire { claim, wait } => {
                        Heard::Acquire { claim: Claim { stream, ..claim }, wait }
                    }
                    heard => heard,
                };
                coordinator.said.push_back((when, stream, heard));
                return;
            }
        }
    }

    fn claim(&self, lease: Uuid) -> Heard {
        let mut terms = Terms { capacity: self.capacity, ..Terms::default() };
        terms.quotas[0] = Some((1, self.capacity));
        terms.quotas[1] = Some((0, self.capacity));
        let limits = vec![ClaimedLimit { key: "server".into(), version: self.version, terms }];
        let class = usize::from(lease.as_u128().is_multiple_of(2));
        let in_doubt = if self.broken == Some(Broken::NoDoubt) { Duration::ZERO } else { IN_DOUBT };
        let claim = Claim {
            id: lease,
            stream: Uuid::nil(),
            class,
            limits,
            holder: String::new(),
            in_doubt,
            rates: vec![rate(lease, 0, 0)],
        };
        Heard::Acquire { claim, wait: LIFE }
    }
}

/// What a lease wants of the rate: one in four is no use without.
fn rate(id: Uuid, spent: u64, allowed: u64) -> ClaimedRate {
    let least = u64::from(id.as_u128().is_multiple_of(4));
    let (key, amount) = (rate_key(WINDOW, "server"), RATE as u64);
    ClaimedRate { key, amount, least, most: spent + 2, spent, allowed }
}

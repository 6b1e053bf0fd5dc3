//! The world, one tick of 50 ms after the other: Redis, the coordinators, and what befalls them.

mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use throttle::v1::{coordinator_message::Message, parcel::Content};
use tokio::time::Instant;
use uuid::Uuid;

use crate::book::{Book, Changes, Claim, ClaimedLimit, Terms};
use crate::desk::lead::{Batch, Heard, Lead, Saying};

const TICK: Duration = Duration::from_millis(50);
const TICKS: u32 = 700;
const LIFE: Duration = Duration::from_secs(3);
const IN_DOUBT: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(6);
/// For how long nobody takes the pen from a coordinator that shows nothing.
const SILENT: Duration = Duration::from_secs(1);
const CAPACITY: u32 = 2;
const WORKERS: usize = 4;

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
    /// A worker says that a connection is closed, and closes it then.
    ReleasedBeforeClosed,
    /// A worker counts the whole life of its lease from the answer.
    CountedFromTheAnswer,
    /// A slot of a silent worker is free with the end of the lease.
    NoDoubt,
    /// A worker that heard nothing of the server says that its connection is closed.
    SilenceTakenForAnEnd,
}

impl Broken {
    pub(super) const ALL: &[Self] = &[
        Self::SaidBeforeWritten,
        Self::NoFence,
        Self::NothingRead,
        Self::NoQuietTime,
        Self::ReleasedBeforeClosed,
        Self::CountedFromTheAnswer,
        Self::NoDoubt,
        Self::SilenceTakenForAnEnd,
    ];
}

/// What Redis has.
#[derive(Default)]
struct Redis {
    pen: Option<u64>,
    sequence: u64,
    leases: BTreeMap<Uuid, String>,
    quiet: bool,
}

/// A coordinator that believes that it holds the pen.
struct Coordinator {
    pen: u64,
    sequence: u64,
    lead: Lead,
    /// A batch on its way: when Redis has it, and whether it took it.
    writing: Option<(Instant, Batch)>,
    /// It does nothing until then.
    frozen: Instant,
    /// When it last knew that the pen was its own.
    confirmed: Instant,
    /// What workers said and were told, by when it arrives.
    said: VecDeque<(Instant, Uuid, Heard)>,
    /// The stream of each worker that talks to it.
    streams: [Option<Uuid>; WORKERS],
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
    coordinators: Vec<Coordinator>,
    workers: [Worker; WORKERS],
    server: Vec<Connection>,
    ids: u128,
    pens: u64,
    /// Redis lost its data, and who remembered it may be gone.
    lost: bool,
    pub(super) connections: u64,
    pub(super) takeovers: u64,
    pub(super) losses: u64,
}

impl World {
    pub(super) fn new(seed: u64, broken: Option<Broken>) -> Self {
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            broken,
            now: Instant::now(),
            redis: Redis::default(),
            coordinators: Vec::new(),
            workers: std::array::from_fn(|_| Worker::default()),
            server: Vec::new(),
            ids: 0,
            pens: 0,
            lost: false,
            connections: 0,
            takeovers: 0,
            losses: 0,
        }
    }

    /// To its end, or to a connection too many.
    pub(super) fn run(&mut self) -> Result<(), String> {
        self.take_over();
        for tick in 0..TICKS {
            self.now += TICK;
            self.misfortune();
            for at in 0..self.coordinators.len() {
                self.coordinate(at);
            }
            for worker in 0..WORKERS {
                self.work(worker);
            }
            // The server closes what nobody used for its idle time.
            self.server.retain(|connection| self.now < connection.used + IN_DOUBT);
            if self.server.len() > CAPACITY as usize {
                return Err(format!("{} connections at tick {tick}", self.server.len()));
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
        if self.dice(150) == 0 {
            // The one that decides dies.
            self.coordinators.pop();
            self.take_over();
        }
        let silent = self.coordinators.last().is_none_or(|last| self.now > last.confirmed + SILENT);
        if silent && self.dice(15) == 0 {
            // It is only slow, and another takes the pen from it.
            self.take_over();
        }
        if self.dice(100) == 0 {
            let until = self.soon(4_000);
            if let Some(coordinator) = self.coordinators.last_mut() {
                coordinator.frozen = until;
            }
        }
        if self.dice(400) == 0 {
            self.redis = Redis::default();
            self.losses += 1;
            self.lost = true;
            if self.dice(2) == 0 {
                self.coordinators.pop();
                self.take_over();
            }
        }
        let victim = usize::try_from(self.dice(WORKERS as u64)).unwrap();
        match self.dice(120) {
            0 => self.kill(victim),
            // Decision 0003 leaves one gap: who is stopped after his stream was seen to end. It is not looked into here.
            1 if self.workers[victim].cut.is_none() => self.workers[victim].frozen = Some(self.soon(9_000)),
            // A stream is cut; a frozen process's stream lives as long as its system.
            2 if self.workers[victim].frozen.is_none() => self.cut(victim, true),
            3 | 4 => self.workers[victim].severed = Some(self.soon(4_000)),
            _ => {}
        }
    }

    /// Another coordinator takes the pen and reads what is there.
    fn take_over(&mut self) {
        self.takeovers += 1;
        self.pens += 1;
        self.redis.pen = Some(self.pens);
        self.redis.sequence += 1;
        let mut book = Book::new(LIFE);
        if self.broken != Some(Broken::NothingRead) {
            for (id, record) in &self.redis.leases {
                assert!(book.load(*id, record, self.now));
            }
        }
        let lost = std::mem::take(&mut self.lost);
        self.redis.quiet |= lost && self.broken != Some(Broken::NoQuietTime);
        if self.redis.quiet {
            book.be_quiet(QUIET, self.now);
        }
        let lead = Lead::new(book, LIFE, LIFE / 3, LIFE);
        self.coordinators.push(Coordinator {
            pen: self.pens,
            sequence: self.redis.sequence,
            lead,
            writing: None,
            frozen: self.now,
            confirmed: self.now,
            said: VecDeque::new(),
            streams: [None; WORKERS],
        });
        for worker in 0..WORKERS {
            self.cut(worker, false);
        }
    }

    /// The worker's stream ends. Its coordinator may see that.
    fn cut(&mut self, worker: usize, seen: bool) {
        let at = self.soon(300) + TICK;
        for coordinator in &mut self.coordinators {
            if let Some(stream) = coordinator.streams[worker].take()
                && seen
            {
                coordinator.said.retain(|(_, from, _)| *from != stream);
                coordinator.lead.stream_ended(stream, self.now);
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

    fn coordinate(&mut self, at: usize) {
        let now = self.now;
        if self.coordinators[at].frozen > now {
            return;
        }
        while let Some((when, stream, _)) = self.coordinators[at].said.front()
            && *when <= now
        {
            let stream = *stream;
            let Some((_, _, heard)) = self.coordinators[at].said.pop_front() else { break };
            self.coordinators[at].lead.hear(stream, heard, now, now);
        }
        self.coordinators[at].lead.pass(now);
        if let Some((when, batch)) = self.coordinators[at].writing.take() {
            if when > now {
                self.coordinators[at].writing = Some((when, batch));
            } else {
                self.written(at, batch);
            }
        }
        // A beat with every tick, like the desk's.
        if self.coordinators[at].writing.is_none() {
            let when = self.soon(200);
            let mut batch = self.coordinators[at].lead.batch(now);
            if self.broken == Some(Broken::SaidBeforeWritten) {
                let sayings = std::mem::take(&mut batch.sayings);
                self.say(at, sayings);
            }
            self.coordinators[at].writing = Some((when, batch));
        }
    }

    /// A batch reaches Redis: the rules of the scripts.
    fn written(&mut self, at: usize, batch: Batch) {
        let (pen, sequence) = (self.coordinators[at].pen, self.coordinators[at].sequence);
        let ours = self.redis.pen == Some(pen) && self.redis.sequence == sequence;
        if ours || self.broken == Some(Broken::NoFence) {
            self.coordinators[at].sequence += 1;
            self.redis.sequence = self.coordinators[at].sequence;
            self.redis.quiet = !self.coordinators[at].lead.book.quiet_for(self.now).is_zero();
            self.coordinators[at].confirmed = self.now;
            self.apply(batch.changes);
            self.say(at, batch.sayings);
            return;
        }
        let denials = self.coordinators[at].lead.go_away(batch, self.now);
        self.say(at, denials);
        if self.redis.pen.is_some() && self.redis.pen != Some(pen) {
            // Somebody else has it. Nothing more is heard from here.
            self.coordinators[at].frozen = self.now + Duration::from_secs(1 << 20);
            return;
        }
        // The data is lost, and everything is remembered here, unless somebody else decided meanwhile.
        self.lost = false;
        self.pens += 1;
        if self.now > self.coordinators[at].confirmed + SILENT && self.broken != Some(Broken::NoQuietTime) {
            self.coordinators[at].lead.book.be_quiet(QUIET, self.now);
        }
        let quiet = !self.coordinators[at].lead.book.quiet_for(self.now).is_zero();
        let whole = self.coordinators[at].lead.whole(self.now);
        self.redis = Redis { pen: Some(self.pens), sequence: sequence + 1, leases: BTreeMap::new(), quiet };
        self.apply(whole.changes);
        let coordinator = &mut self.coordinators[at];
        (coordinator.pen, coordinator.sequence) = (self.pens, sequence + 1);
        coordinator.confirmed = self.now;
        coordinator.lead.come_back();
        self.say(at, whole.sayings);
    }

    fn apply(&mut self, changes: Changes) {
        self.redis.leases.extend(changes.written);
        for id in changes.erased {
            self.redis.leases.remove(&id);
        }
    }

    fn say(&mut self, at: usize, sayings: Vec<Saying>) {
        for (to, content) in sayings {
            let Some(worker) = self.coordinators[at].streams.iter().position(|s| *s == Some(to)) else {
                if let Content::Answered(message) = content
                    && let Some(Message::Granted(granted)) = message.message
                {
                    self.coordinators[at].lead.unheard(granted.lease_id.parse().unwrap(), to, self.now);
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
        let mut terms = Terms { capacity: CAPACITY, ..Terms::default() };
        terms.quotas[0] = Some((CAPACITY, CAPACITY));
        let limits = vec![ClaimedLimit { key: "server".into(), version: 0, terms }];
        let in_doubt = if self.broken == Some(Broken::NoDoubt) { Duration::ZERO } else { IN_DOUBT };
        let claim =
            Claim { id: lease, stream: Uuid::nil(), class: 0, limits, holder: String::new(), in_doubt };
        Heard::Acquire { claim, wait: LIFE }
    }
}

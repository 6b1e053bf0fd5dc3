//! What a coordinator does in a tick: it looks for the pen, or it decides, writes and puts back, by the desk's own rules.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{BEAT, Broken, COORDINATORS, LIFE, QUIET, Redis, WORKERS, World};
use crate::book::{Book, Changes};
use crate::desk::lead::{Batch, Heard, Lead};
use crate::desk::rules::{self, Known, Patience, SILENT, UNHEARD};
use crate::ledger::{Pen, Seen};

/// How long it waits before it tries Redis again.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Coordinator {
    known: Known,
    patience: Patience,
    /// Since when the holder of the pen that it follows has written nothing.
    unmoved: Instant,
    /// It does nothing until then.
    pub(super) frozen: Instant,
    /// It hears nothing of Redis until then.
    cut: Instant,
    /// When it believes that it holds the pen.
    pub(super) leading: Option<Leading>,
    /// What workers said and were told, by when it arrives.
    pub(super) said: VecDeque<(Instant, Uuid, Heard)>,
    /// The stream of each worker that talks to it.
    pub(super) streams: [Option<Uuid>; WORKERS],
}

pub(super) struct Leading {
    pen: Pen,
    pub(super) lead: Lead,
    /// A batch on its way: when it was sent, and when Redis has it.
    writing: Option<(Instant, Instant, Batch)>,
    /// When the pen was last known to be its own.
    confirmed: Instant,
    /// Its ways to Redis are broken, or Redis does not have what was written; when it tries again.
    away: Option<Instant>,
    /// Nobody hears its line any more.
    unheard: bool,
}

impl Coordinator {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: Known::default(),
            patience: Patience::new(BEAT),
            unmoved: now,
            frozen: now,
            cut: now,
            leading: None,
            said: VecDeque::new(),
            streams: [None; WORKERS],
        }
    }
}

impl World {
    /// Another starts in its place that knows nothing.
    pub(super) fn kill_coordinator(&mut self, at: usize) {
        self.end_streams(at);
        self.coordinators[at] = Coordinator::new(self.now);
    }

    pub(super) fn cut_off(&mut self, at: usize, until: Instant) {
        let coordinator = &mut self.coordinators[at];
        coordinator.cut = coordinator.cut.max(until);
        coordinator.patience = Patience::new(BEAT);
        if let Some(leading) = &mut coordinator.leading {
            leading.unheard = true;
        }
    }

    fn end_streams(&mut self, at: usize) {
        for worker in 0..WORKERS {
            if self.coordinators[at].streams[worker].is_some() {
                self.cut(worker, false);
            }
        }
        self.coordinators[at].said.clear();
    }

    pub(super) fn coordinate(&mut self, at: usize) {
        if self.coordinators[at].frozen > self.now {
            return;
        }
        if self.coordinators[at].leading.is_some() {
            self.decide(at);
        } else if self.coordinators[at].cut <= self.now {
            self.search(at);
        }
    }

    fn hears(&self, pen: Uuid) -> bool {
        let mut leading = self.coordinators.iter().filter_map(|coordinator| coordinator.leading.as_ref());
        leading.any(|leading| leading.pen.id == pen && !leading.unheard)
    }

    /// A look at the ledger: following who is heard, and taking the pen where that is right.
    fn search(&mut self, at: usize) {
        let (now, seen) = (self.now, self.redis.book.clone());
        if let Some(pen) = seen.pen
            && self.coordinators[at].known.silent != Some(pen)
            && self.hears(pen)
        {
            let Coordinator { known, patience, unmoved, .. } = &mut self.coordinators[at];
            if known.sequence != seen.sequence {
                *unmoved = now;
            }
            known.learn(&seen);
            *patience = Patience::new(BEAT);
            if now > *unmoved + BEAT * SILENT {
                known.silent = Some(pen);
            }
            return;
        }
        let Coordinator { known, patience, .. } = &mut self.coordinators[at];
        let new = known.epoch.is_none() && seen.epoch.is_none();
        let lost = known.misses_something(&seen, &self.run)
            && !(new && self.broken == Some(Broken::EmptyTakenForNew));
        if patience.is_over(known, &seen, lost, now) {
            self.take(at, &seen, lost);
        }
    }

    /// It takes the pen and reads what is there.
    fn take(&mut self, at: usize, seen: &Seen, lost: bool) {
        self.takeovers += 1;
        let epoch = seen.epoch.clone().filter(|_| !lost).unwrap_or_else(|| self.id().to_string());
        let quiet = (seen.quiet || lost) && self.broken != Some(Broken::NoQuietTime);
        let pen = Pen { id: self.id(), epoch, sequence: seen.sequence + 1, quiet };
        self.redis.book = self.book_of(&pen);
        let mut book = Book::new(LIFE);
        if self.broken != Some(Broken::NothingRead) {
            for (id, record) in &self.redis.leases {
                assert!(book.load(*id, record, self.now));
            }
        }
        if !matches!(self.broken, Some(Broken::NothingRead | Broken::RatesNotRead)) {
            for (key, record) in &self.redis.rates {
                assert!(book.load_rate(key, record, self.now));
            }
        }
        if quiet {
            book.be_quiet(QUIET, self.now);
        }
        self.end_streams(at);
        let coordinator = &mut self.coordinators[at];
        coordinator.known = Known { epoch: Some(pen.epoch.clone()), sequence: pen.sequence, silent: None };
        coordinator.leading = Some(Leading {
            pen,
            lead: Lead::new(book, LIFE, LIFE / 3, LIFE),
            writing: None,
            confirmed: self.now,
            away: None,
            unheard: false,
        });
    }

    fn book_of(&self, pen: &Pen) -> Seen {
        Seen {
            epoch: Some(pen.epoch.clone()),
            pen: Some(pen.id),
            sequence: pen.sequence,
            quiet: pen.quiet,
            run: self.run.id.clone(),
        }
    }

    fn decide(&mut self, at: usize) {
        let now = self.now;
        let Coordinator { leading, said, cut, .. } = &mut self.coordinators[at];
        let Some(leading) = leading else { return };
        while let Some((when, _, _)) = said.front()
            && *when <= now
        {
            let Some((_, stream, heard)) = said.pop_front() else { break };
            leading.lead.hear(stream, heard, now, now);
        }
        leading.lead.pass(now);
        if let Some(again) = leading.away {
            if *cut <= now && again <= now {
                self.put_back(at);
            } else {
                let denials = leading.lead.say_while_away(now);
                self.say(at, denials);
            }
            return;
        }
        match leading.writing.take() {
            Some((begun, when, batch)) if when > now && !leading.unheard => {
                leading.writing = Some((begun, when, batch));
            }
            Some((begun, _, batch)) => self.written(at, begun, batch),
            None if leading.unheard => self.trouble(at, Batch::default()),
            None => {}
        }
        // A beat with every tick, like the desk's.
        let when = self.soon(200);
        let said_first = self.broken == Some(Broken::SaidBeforeWritten);
        let Some(leading) = &mut self.coordinators[at].leading else { return };
        if leading.writing.is_none() && leading.away.is_none() {
            leading.pen.quiet = !leading.lead.book.quiet_for(now).is_zero();
            let mut batch = leading.lead.batch(now);
            let sayings = if said_first { std::mem::take(&mut batch.sayings) } else { Vec::new() };
            leading.writing = Some((now, when, batch));
            self.say(at, sayings);
        }
    }

    /// A batch reaches Redis, and its answer comes back or not: the rules of the scripts.
    fn written(&mut self, at: usize, begun: Instant, batch: Batch) {
        let arrives = self.coordinators[at].cut <= self.now || self.dice(2) == 0;
        let Some(leading) = &mut self.coordinators[at].leading else { return };
        let ours = self.redis.book.pen == Some(leading.pen.id)
            && self.redis.book.sequence == leading.pen.sequence
            || self.broken == Some(Broken::NoFence);
        if ours && arrives {
            self.redis.book.sequence = leading.pen.sequence + 1;
            self.redis.book.quiet = leading.pen.quiet;
            apply(&mut self.redis, batch.changes.clone());
        }
        if ours && !leading.unheard {
            leading.pen.sequence += 1;
            leading.confirmed = begun;
            self.coordinators[at].known.sequence = self.redis.book.sequence;
            self.say(at, batch.sayings);
        } else {
            self.trouble(at, batch);
        }
    }

    fn trouble(&mut self, at: usize, batch: Batch) {
        let Some(leading) = &mut self.coordinators[at].leading else { return };
        leading.away = Some(self.now + PAUSE);
        let denials = leading.lead.go_away(batch, self.now);
        self.say(at, denials);
    }

    /// It writes everything down again, unless somebody else has the pen.
    fn put_back(&mut self, at: usize) {
        let (now, seen, line) = (self.now, self.redis.book.clone(), self.id());
        let Coordinator { leading, patience, .. } = &mut self.coordinators[at];
        let Some(leading) = leading else { return };
        if seen.pen.is_some_and(|other| other != leading.pen.id) {
            *patience = Patience::new(BEAT);
            self.end_streams(at);
            self.coordinators[at].leading = None;
            return;
        }
        let since = now - leading.confirmed;
        let missed = match self.broken {
            Some(Broken::NoQuietTime) => false,
            Some(Broken::OwnPenTakenForProof) => seen.pen.is_none() && since >= BEAT * UNHEARD,
            _ => rules::may_have_missed(&leading.pen, &seen, &self.run, since, BEAT),
        };
        if missed {
            leading.lead.book.be_quiet(QUIET, now);
        }
        leading.pen.quiet = !leading.lead.book.quiet_for(now).is_zero();
        leading.pen.id = line;
        leading.pen.sequence = leading.pen.sequence.max(seen.sequence) + 1;
        (leading.confirmed, leading.away, leading.unheard) = (now, None, false);
        let whole = leading.lead.whole(now);
        leading.lead.come_back();
        let pen = leading.pen.clone();
        self.coordinators[at].known =
            Known { epoch: Some(pen.epoch.clone()), sequence: pen.sequence, silent: None };
        self.redis = Redis { book: self.book_of(&pen), ..Redis::default() };
        apply(&mut self.redis, whole.changes);
        self.say(at, whole.sayings);
    }

    /// One of those that believe that they decide, for a worker that begins anew.
    pub(super) fn who_decides(&mut self) -> Option<usize> {
        let first = usize::try_from(self.dice(COORDINATORS as u64)).unwrap();
        (first..first + COORDINATORS)
            .map(|at| at % COORDINATORS)
            .find(|at| self.coordinators[*at].leading.as_ref().is_some_and(|leading| leading.away.is_none()))
    }
}

fn apply(redis: &mut Redis, changes: Changes) {
    redis.leases.extend(changes.written);
    for id in changes.erased {
        redis.leases.remove(&id);
    }
    for (key, record) in changes.rates {
        if record.is_empty() {
            redis.rates.remove(&*key);
        } else {
            redis.rates.insert(key.to_string(), record);
        }
    }
}

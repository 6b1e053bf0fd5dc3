//! The one task that speaks to the ledger: while a call is under way the requests of all streams gather, and the next
//! call decides them together.
//!
//! It remembers who waits. It never answers "granted" on its own, and what a failed call may have granted it takes back.

mod call;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::mem;
use std::ops::Bound;
use std::time::Duration;

use throttle::v1::{self, coordinator_message::Message};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::config::Config;
use crate::ledger::{Claim, Ledger, Request};

/// Where the answers to one worker go.
pub(crate) type Answers = mpsc::UnboundedSender<Result<v1::CoordinatorMessage, Status>>;

/// What streams bring to the desk.
#[derive(Debug)]
pub(crate) enum Ask {
    Acquire { claim: Claim, wait: Duration, again: bool, received: Instant, answers: Answers },
    Renew { renewal: u64, ids: Vec<Uuid>, stream: Uuid, answers: Answers },
    Release { ids: Vec<Uuid>, answers: Answers },
    Ended { stream: Uuid },
    BackOff { key: String, pause: Duration },
    Free { id: Uuid, freed: oneshot::Sender<bool> },
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    deadline: Instant,
    received: Instant,
    answers: Answers,
    /// In the backlog already.
    called: bool,
}

/// Work for the next call.
#[derive(Debug)]
enum Task {
    Ask(Ask),
    /// A waiting request that may have its slot, or whose time is up.
    Present(Uuid),
    /// What must reach the ledger however often it takes.
    Plain(Request),
}

pub(crate) struct Desk {
    ledger: Ledger,
    inbox: mpsc::UnboundedReceiver<Ask>,
    calls: mpsc::UnboundedReceiver<Uuid>,
    reachable: watch::Sender<bool>,
    batch: usize,
    lease: Duration,
    renew_millis: u64,
    retry: Duration,
    recheck: Duration,
    backlog: VecDeque<Task>,
    waiting: HashMap<Uuid, Waiting>,
    deadlines: BTreeSet<(Instant, Uuid)>,
    /// Until then requests are refused without asking a ledger that was away a moment ago.
    closed_until: Option<Instant>,
    last_call: Instant,
    /// Whose limits were looked at last.
    looked_at: (Instant, Uuid),
}

impl Desk {
    pub(crate) fn new(
        config: &Config,
        ledger: Ledger,
        inbox: mpsc::UnboundedReceiver<Ask>,
        calls: mpsc::UnboundedReceiver<Uuid>,
        reachable: watch::Sender<bool>,
    ) -> Self {
        Self {
            ledger,
            inbox,
            calls,
            reachable,
            batch: config.batch,
            lease: config.lease(),
            renew_millis: config.renew_millis,
            retry: Duration::from_secs(config.retry_seconds),
            recheck: Duration::from_millis(config.recheck_millis),
            backlog: VecDeque::new(),
            waiting: HashMap::new(),
            deadlines: BTreeSet::new(),
            closed_until: None,
            last_call: Instant::now(),
            looked_at: (Instant::now(), Uuid::nil()),
        }
    }

    /// Decides until shutdown. The places of those who wait stay in the ledger for the coordinator they ask next.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut recheck = tokio::time::interval(self.recheck);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
            let at_work = !self.backlog.is_empty() && self.closed_until.is_none();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(id) = self.calls.recv() => self.present(id),
                _ = recheck.tick() => self.look_again(),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.time_is_up();
                }
                ask = self.inbox.recv() => match ask {
                    Some(ask) => self.backlog.push_back(Task::Ask(ask)),
                    None => return,
                },
                () = std::future::ready(()), if at_work => {}
            }
            while let Ok(ask) = self.inbox.try_recv() {
                self.backlog.push_back(Task::Ask(ask));
            }
            if self.closed_until.is_some_and(|until| Instant::now() < until) {
                self.refuse_backlog();
                continue;
            }
            self.closed_until = None;
            if !self.backlog.is_empty() {
                self.decide().await;
            }
        }
    }

    fn present(&mut self, id: Uuid) {
        if let Some(waiting) = self.waiting.get_mut(&id)
            && !mem::replace(&mut waiting.called, true)
        {
            self.backlog.push_back(Task::Present(id));
        }
    }

    /// Pokes limits that somebody waits for, a batch at a time in turn, because calls may be lost. When nobody waits it
    /// still looks once a second: health wants to know whether the ledger is there.
    fn look_again(&mut self) {
        let after = (Bound::Excluded(self.looked_at), Bound::Unbounded);
        let before = (Bound::Unbounded, Bound::Included(self.looked_at));
        let turn = self.deadlines.range(after).chain(self.deadlines.range(before)).take(self.batch);
        let mut keys = HashSet::new();
        for place in turn {
            self.looked_at = *place;
            if let Some(waiting) = self.waiting.get(&place.1) {
                keys.extend(waiting.claim.limits.iter().map(|limit| limit.key.clone()));
            }
        }
        if keys.is_empty() && self.backlog.is_empty() && self.last_call.elapsed() > Duration::from_secs(1) {
            keys.insert("health".to_owned());
        }
        self.backlog.extend(keys.into_iter().map(|key| Task::Plain(Request::Poke { key })));
    }

    fn time_is_up(&mut self) {
        let now = Instant::now();
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            // It may be called already; then it is presented with no time left.
            self.present(id);
        }
    }

    fn forget(&mut self, id: Uuid) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.deadline, id));
        Some(waiting)
    }
}

/// False when nobody listens any more.
fn say(answers: &Answers, message: Message) -> bool {
    answers.send(Ok(v1::CoordinatorMessage { message: Some(message) })).is_ok()
}

//! The one task that speaks to the ledger: while a call is under way the requests of all streams gather, and the next
//! call decides them together.
//!
//! It remembers who waits. It never answers "granted" on its own, and what a failed call may have granted it takes back.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::mem;
use std::time::Duration;

use throttle::v1::{self, coordinator_message::Message, denied::Reason};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::config::Config;
use crate::ledger::{Claim, Ledger, Request, Verdict, whole_millis};

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

/// Who gets the verdict of a request that was sent.
enum Receiver {
    Acquire(Box<Waiting>),
    Renewal(usize),
    Release(usize),
    Free(oneshot::Sender<bool>),
    Nobody,
}

struct Renewal {
    answer: v1::Renewed,
    answers: Answers,
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

    /// Pokes every limit that somebody waits for, because calls may be lost. Also says that this coordinator lives.
    fn look_again(&mut self) {
        let keys: HashSet<_> = self
            .waiting
            .values()
            .flat_map(|waiting| waiting.claim.limits.iter().map(|limit| limit.key.clone()))
            .collect();
        self.backlog.extend(keys.into_iter().map(|key| Task::Plain(Request::Poke { key })));
        if self.backlog.is_empty() && self.last_call.elapsed() > Duration::from_secs(1) {
            // Nobody asks, but health wants to know whether the ledger is there.
            self.backlog.push_back(Task::Plain(Request::Poke { key: "health".to_owned() }));
        }
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

    /// One call over as much of the backlog as a batch holds.
    async fn decide(&mut self) {
        let mut requests = Vec::new();
        let mut receivers = Vec::new();
        let mut renewals = Vec::new();
        let mut releases = Vec::new();
        let now = Instant::now();
        while requests.len() < self.batch {
            let Some(task) = self.backlog.pop_front() else { break };
            match task {
                Task::Plain(request) => {
                    requests.push(request);
                    receivers.push(Receiver::Nobody);
                }
                Task::Present(id) => {
                    if let Some(waiting) = self.forget(id) {
                        let wait = waiting.deadline.saturating_duration_since(now);
                        requests.push(Request::Acquire { claim: waiting.claim.clone(), wait, again: true });
                        receivers.push(Receiver::Acquire(Box::new(waiting)));
                    }
                }
                Task::Ask(Ask::Acquire { claim, wait, again, received, answers }) => {
                    // The same request over a new stream takes the place of the old one.
                    self.forget(claim.id);
                    let deadline = received + wait;
                    let wait = deadline.saturating_duration_since(now);
                    requests.push(Request::Acquire { claim: claim.clone(), wait, again });
                    let waiting = Waiting { claim, deadline, received, answers, called: false };
                    receivers.push(Receiver::Acquire(Box::new(waiting)));
                }
                Task::Ask(Ask::Renew { renewal, ids, stream, answers }) => {
                    for id in ids {
                        requests.push(Request::Renew { id, stream });
                        receivers.push(Receiver::Renewal(renewals.len()));
                    }
                    let answer = v1::Renewed {
                        renewal,
                        lifetime_ms: whole_millis(self.lease),
                        ..v1::Renewed::default()
                    };
                    renewals.push(Renewal { answer, answers });
                }
                Task::Ask(Ask::Release { ids, answers }) => {
                    for id in ids {
                        self.forget(id);
                        requests.push(Request::Release { id, stream: None });
                        receivers.push(Receiver::Release(releases.len()));
                    }
                    releases.push((v1::Released::default(), answers));
                }
                Task::Ask(Ask::Ended { stream }) => {
                    requests.push(Request::Ended { stream });
                    receivers.push(Receiver::Nobody);
                    let left: Vec<_> = self
                        .waiting
                        .iter()
                        .filter(|(_, waiting)| waiting.claim.stream == stream)
                        .map(|(id, _)| *id)
                        .collect();
                    for id in left {
                        self.forget(id);
                        requests.push(Request::Release { id, stream: Some(stream) });
                        receivers.push(Receiver::Nobody);
                    }
                }
                Task::Ask(Ask::BackOff { key, pause }) => {
                    requests.push(Request::BackOff { key, pause });
                    receivers.push(Receiver::Nobody);
                }
                Task::Ask(Ask::Free { id, freed }) => {
                    requests.push(Request::Release { id, stream: None });
                    receivers.push(Receiver::Free(freed));
                }
            }
        }
        if requests.is_empty() {
            return;
        }
        let sent = Instant::now();
        self.last_call = sent;
        match self.ledger.decide(&requests).await {
            Ok(answer) => {
                self.reachable.send_if_modified(|reachable| !mem::replace(reachable, true));
                for ((request, receiver), verdict) in requests.into_iter().zip(receivers).zip(answer.verdicts)
                {
                    match receiver {
                        Receiver::Acquire(waiting) => self.answer(*waiting, verdict, sent),
                        Receiver::Renewal(at) => {
                            let Request::Renew { id, .. } = request else { continue };
                            let renewed: &mut Renewal = &mut renewals[at];
                            match verdict {
                                Verdict::Renewed => renewed.answer.lease_ids.push(id.to_string()),
                                _ => renewed.answer.lost.push(id.to_string()),
                            }
                        }
                        Receiver::Release(at) => {
                            let Request::Release { id, .. } = request else { continue };
                            releases[at].0.lease_ids.push(id.to_string());
                        }
                        Receiver::Free(freed) => {
                            freed.send(verdict == Verdict::Freed).ok();
                        }
                        Receiver::Nobody => {}
                    }
                }
                for Renewal { answer, answers } in renewals {
                    say(&answers, Message::Renewed(answer));
                }
                for (released, answers) in releases {
                    say(&answers, Message::Released(released));
                }
                for id in answer.wakes {
                    self.present(id);
                }
            }
            Err(error) => {
                if self.reachable.send_if_modified(|reachable| mem::replace(reachable, false)) {
                    tracing::error!(
                        kind = error.category(),
                        detail = error.detail(),
                        "the ledger in Redis does not answer; no lease is granted"
                    );
                }
                self.closed_until = Some(Instant::now() + Duration::from_millis(500));
                self.take_back(requests, receivers, &releases);
            }
        }
    }

    /// Tells a worker what the ledger decided, or keeps the request waiting.
    fn answer(&mut self, mut waiting: Waiting, verdict: Verdict, sent: Instant) {
        let lease_id = waiting.claim.id.to_string();
        let retry_after_ms = whole_millis(self.retry);
        let denied = |reason: Reason, retry_after_ms, key| {
            Message::Denied(v1::Denied {
                lease_id: lease_id.clone(),
                reason: reason.into(),
                retry_after_ms,
                key,
                message: String::new(),
            })
        };
        let message = match verdict {
            Verdict::Granted => Message::Granted(v1::Granted {
                lease_id,
                lifetime_ms: whole_millis(self.lease),
                renew_every_ms: self.renew_millis,
                // The ledger said yes after the call was sent, and the worker asked before it was received.
                waited_ms: whole_millis(sent.saturating_duration_since(waiting.received)),
            }),
            Verdict::Waiting => {
                waiting.called = false;
                self.deadlines.insert((waiting.deadline, waiting.claim.id));
                self.waiting.insert(waiting.claim.id, waiting);
                return;
            }
            Verdict::HeldBack { pause, key } => denied(Reason::HeldBack, whole_millis(pause), key),
            Verdict::Quiet { pause } => denied(Reason::LedgerAway, whole_millis(pause), String::new()),
            Verdict::Full { key } => denied(Reason::NoCapacity, retry_after_ms, key),
            _ => denied(Reason::LedgerAway, retry_after_ms, String::new()),
        };
        let granted = matches!(message, Message::Granted(_));
        if !say(&waiting.answers, message) && granted {
            // Nobody heard. The worker may ask again elsewhere under the same id, so only what is still bound to the
            // stream that ended is taken back.
            let Claim { id, stream, .. } = waiting.claim;
            self.backlog.push_back(Task::Plain(Request::Release { id, stream: Some(stream) }));
        }
    }

    /// After a failed call: refuse what was asked, and keep for later what must not be forgotten.
    fn take_back(
        &mut self,
        requests: Vec<Request>,
        receivers: Vec<Receiver>,
        releases: &[(v1::Released, Answers)],
    ) {
        for (request, receiver) in requests.into_iter().zip(receivers) {
            match (request, receiver) {
                (_, Receiver::Acquire(waiting)) => self.refuse(&waiting.claim, &waiting.answers, true),
                // A renewal is asked again by the worker as long as it can matter.
                (Request::Renew { .. } | Request::Poke { .. } | Request::Acquire { .. }, _) => {}
                (Request::Release { id, .. }, Receiver::Release(at)) => {
                    let answers = releases[at].1.clone();
                    self.backlog.push_back(Task::Ask(Ask::Release { ids: vec![id], answers }));
                }
                (request, _) => self.backlog.push_back(Task::Plain(request)),
            }
        }
    }

    /// While the ledger is away nothing queues up but what must reach it.
    fn refuse_backlog(&mut self) {
        for task in mem::take(&mut self.backlog) {
            match task {
                Task::Ask(Ask::Acquire { claim, answers, again, .. }) => {
                    self.forget(claim.id);
                    self.refuse(&claim, &answers, again);
                }
                Task::Present(id) => {
                    if let Some(waiting) = self.forget(id) {
                        self.refuse(&waiting.claim, &waiting.answers, true);
                    }
                }
                Task::Ask(Ask::Renew { .. }) | Task::Plain(Request::Poke { .. }) => {}
                task => self.backlog.push_back(task),
            }
        }
    }

    /// Denies a request that the ledger may have granted, or may still hold a place for.
    fn refuse(&mut self, claim: &Claim, answers: &Answers, known: bool) {
        if known {
            let release = Request::Release { id: claim.id, stream: Some(claim.stream) };
            self.backlog.push_back(Task::Plain(release));
        }
        let denied = v1::Denied {
            lease_id: claim.id.to_string(),
            reason: Reason::LedgerAway.into(),
            retry_after_ms: whole_millis(self.retry),
            ..v1::Denied::default()
        };
        say(answers, Message::Denied(denied));
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

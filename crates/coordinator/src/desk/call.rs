//! One call of the ledger's script: gathered from the backlog, and answered to everyone in it.
//!
//! After a failed call nothing is known, so everything that it may have granted is taken back.

use std::mem;
use std::time::Duration;

use model::crash::{self, Point};
use throttle::v1::{self, coordinator_message::Message, denied::Reason};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Answers, Ask, Desk, Task, Waiting, say};
use crate::ledger::{Claim, Request, Verdict, whole_millis};

/// Requests with who gets their verdicts.
#[derive(Default)]
struct Call {
    requests: Vec<Request>,
    receivers: Vec<Receiver>,
    renewals: Vec<(v1::Renewed, Answers)>,
    releases: Vec<(v1::Released, Answers)>,
}

/// Who gets the verdict of a request that was sent.
enum Receiver {
    Acquire(Box<Waiting>),
    /// An entry of the call's renewals.
    Renewal(usize),
    /// An entry of the call's releases.
    Release(usize),
    Free(oneshot::Sender<bool>),
    Nobody,
}

impl Call {
    fn push(&mut self, request: Request, receiver: Receiver) {
        self.requests.push(request);
        self.receivers.push(receiver);
    }
}

impl Desk {
    /// One call over as much of the backlog as a batch holds.
    pub(super) async fn decide(&mut self) {
        let mut call = self.gather();
        if call.requests.is_empty() {
            return;
        }
        let sent = Instant::now();
        self.last_call = sent;
        let grants = call.requests.iter().any(|request| matches!(request, Request::Acquire { .. }));
        if grants {
            crash::point(Point::GrantBefore);
        }
        match self.ledger.decide(&call.requests).await {
            Ok(answer) => {
                if grants {
                    crash::point(Point::GrantAfter);
                }
                self.reachable.send_if_modified(|reachable| !mem::replace(reachable, true));
                self.deliver(call, answer.verdicts, sent);
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
                self.take_back(&mut call);
            }
        }
    }

    /// Takes tasks off the backlog until the batch is full.
    fn gather(&mut self) -> Call {
        let mut call = Call::default();
        let now = Instant::now();
        while call.requests.len() < self.batch {
            let Some(task) = self.backlog.pop_front() else { break };
            match task {
                Task::Plain(request) => {
                    call.push(request, Receiver::Nobody);
                }
                Task::Present(id) => {
                    if let Some(waiting) = self.forget(id) {
                        let wait = waiting.deadline.saturating_duration_since(now);
                        let request = Request::Acquire { claim: waiting.claim.clone(), wait, again: true };
                        call.push(request, Receiver::Acquire(Box::new(waiting)));
                    }
                }
                Task::Ask(Ask::Acquire { claim, wait, again, received, answers }) => {
                    // The same request over a new stream takes the place of the old one.
                    self.forget(claim.id);
                    let deadline = received + wait;
                    let wait = deadline.saturating_duration_since(now);
                    let request = Request::Acquire { claim: claim.clone(), wait, again };
                    let waiting = Waiting { claim, deadline, received, answers, called: false };
                    call.push(request, Receiver::Acquire(Box::new(waiting)));
                }
                Task::Ask(Ask::Renew { renewal, ids, stream, answers }) => {
                    for id in ids {
                        call.push(Request::Renew { id, stream }, Receiver::Renewal(call.renewals.len()));
                    }
                    let answer = v1::Renewed {
                        renewal,
                        lifetime_ms: whole_millis(self.lease),
                        ..v1::Renewed::default()
                    };
                    call.renewals.push((answer, answers));
                }
                Task::Ask(Ask::Release { ids, answers }) => {
                    for id in ids {
                        self.forget(id);
                        let receiver = Receiver::Release(call.releases.len());
                        call.push(Request::Release { id, stream: None }, receiver);
                    }
                    call.releases.push((v1::Released::default(), answers));
                }
                Task::Ask(Ask::Ended { stream }) => {
                    call.push(Request::Ended { stream }, Receiver::Nobody);
                    let left: Vec<_> = self
                        .waiting
                        .iter()
                        .filter(|(_, waiting)| waiting.claim.stream == stream)
                        .map(|(id, _)| *id)
                        .collect();
                    for id in left {
                        self.forget(id);
                        call.push(Request::Release { id, stream: Some(stream) }, Receiver::Nobody);
                    }
                }
                Task::Ask(Ask::BackOff { key, pause }) => {
                    call.push(Request::BackOff { key, pause }, Receiver::Nobody);
                }
                Task::Ask(Ask::Free { id, freed }) => {
                    call.push(Request::Release { id, stream: None }, Receiver::Free(freed));
                }
            }
        }
        call
    }

    /// Gives every verdict to whoever waits for it.
    fn deliver(&mut self, call: Call, verdicts: Vec<Verdict>, sent: Instant) {
        let Call { requests, receivers, mut renewals, mut releases } = call;
        for ((request, receiver), verdict) in requests.into_iter().zip(receivers).zip(verdicts) {
            match (receiver, request) {
                (Receiver::Acquire(waiting), _) => self.answer(*waiting, verdict, sent),
                (Receiver::Renewal(at), Request::Renew { id, .. }) => {
                    let answer: &mut v1::Renewed = &mut renewals[at].0;
                    let list =
                        if verdict == Verdict::Renewed { &mut answer.lease_ids } else { &mut answer.lost };
                    list.push(id.to_string());
                }
                (Receiver::Release(at), Request::Release { id, .. }) => {
                    releases[at].0.lease_ids.push(id.to_string());
                }
                (Receiver::Free(freed), _) => {
                    freed.send(verdict == Verdict::Freed).ok();
                }
                (Receiver::Renewal(_) | Receiver::Release(_) | Receiver::Nobody, _) => {}
            }
        }
        for (renewed, answers) in renewals {
            say(&answers, Message::Renewed(renewed));
        }
        for (released, answers) in releases {
            say(&answers, Message::Released(released));
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
    fn take_back(&mut self, call: &mut Call) {
        for (request, receiver) in
            mem::take(&mut call.requests).into_iter().zip(mem::take(&mut call.receivers))
        {
            match (request, receiver) {
                (_, Receiver::Acquire(waiting)) => self.refuse(&waiting.claim, &waiting.answers, true),
                // A renewal is asked again by the worker as long as it can matter.
                (Request::Renew { .. } | Request::Poke { .. } | Request::Acquire { .. }, _) => {}
                (Request::Release { id, .. }, Receiver::Release(at)) => {
                    let answers = call.releases[at].1.clone();
                    self.backlog.push_back(Task::Ask(Ask::Release { ids: vec![id], answers }));
                }
                (request, _) => self.backlog.push_back(Task::Plain(request)),
            }
        }
    }

    /// While the ledger is away nothing queues up but what must reach it.
    pub(super) fn refuse_backlog(&mut self) {
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
}

//! The gRPC side: reads what workers say, checks it, and hands it to the desk. No decision is made here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use model::clock;
use model::workload::ServiceClass;
use throttle::v1::{
    self, WorkerMessage, coordinator_message, denied::Reason, leases_server::Leases, worker_message::Message,
};
use throttle::{Served, class_from_wire, quotas};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::book::{Claim, ClaimedLimit, ClaimedRate, Terms, class_at, rate_key};
use crate::desk::{Answers, Ask, Heard, Role, Term};
use crate::ledger::whole_millis;

/// How long a call waits for a coordinator that decides.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) desk: mpsc::UnboundedSender<Ask>,
    pub(crate) terms: watch::Receiver<Option<Term>>,
    pub(crate) reached: watch::Receiver<bool>,
    pub(crate) retry: Duration,
    pub(crate) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Leases for Counter {
    type HoldStream = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn hold(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::HoldStream>, Status> {
        let incoming = request.into_inner();
        let (answers, outgoing) = mpsc::unbounded_channel();
        let mut terms = self.terms.clone();
        let shutdown = self.shutdown.clone();
        let window = Window { desk: self.desk.clone(), stream: clock::new_id(), answers, retry: self.retry };
        tokio::spawn(async move {
            // A stream that this coordinator ends says nothing about its worker.
            let serving = async {
                let Some(term) = terms.wait_for(Option::is_some).await.ok().and_then(|term| term.clone())
                else {
                    return;
                };
                if term.over.run_until_cancelled(window.serve(incoming, term.role)).await.is_some() {
                    window.desk.send(Ask::Ended { stream: window.stream }).ok();
                }
            };
            shutdown.run_until_cancelled(serving).await;
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let begins = &request.get_ref().key_prefix;
        let status = self.call(|reply| Ask::Status { begins: begins.clone(), reply }).await?;
        Ok(Response::new(status))
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Result<Response<v1::FreeReply>, Status> {
        let id = lease_id(&request.get_ref().lease_id).ok_or_else(|| {
            Status::invalid_argument("`lease_id` is no UUID; take it from `lockstep leases list`")
        })?;
        let freed = self.call(|reply| Ask::Free { id, reply }).await?;
        tracing::info!(lease.id = %id, freed, "an administrator freed a lease");
        Ok(Response::new(v1::FreeReply { freed }))
    }
}

impl Counter {
    /// Asks whoever decides, and asks again when the pen changes hands meanwhile.
    async fn call<T>(&self, ask: impl Fn(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        let (mut terms, mut reached) = (self.terms.clone(), self.reached.clone());
        let asking = async {
            loop {
                terms.wait_for(Option::is_some).await.ok()?;
                reached.wait_for(|reached| *reached).await.ok()?;
                let (reply, answer) = oneshot::channel();
                self.desk.send(ask(reply)).ok()?;
                if let Ok(answer) = answer.await {
                    return Some(answer);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await.ok().flatten();
        answer
            .ok_or_else(|| Status::unavailable("the ledger in Redis does not answer; check that Redis runs"))
    }
}

/// One worker's stream.
struct Window {
    desk: mpsc::UnboundedSender<Ask>,
    stream: Uuid,
    answers: Answers,
    retry: Duration,
}

impl Window {
    /// Reads it to its end.
    async fn serve(&self, mut incoming: Streaming<WorkerMessage>, role: Role) {
        let hello = tokio::time::timeout(Duration::from_secs(10), incoming.message()).await;
        let Ok(Ok(Some(WorkerMessage { message: Some(Message::Hello(hello)) }))) = hello else {
            self.answers.send(Err(Status::invalid_argument("the first message of a stream is Hello"))).ok();
            return;
        };
        let stream = self.stream;
        tracing::info!(session.id = hello.session_id, worker.process = hello.process, stream.id = %stream, "a worker is here");
        self.desk.send(Ask::Opened { stream, answers: self.answers.clone() }).ok();
        loop {
            let message = match incoming.message().await {
                Ok(Some(WorkerMessage { message: Some(message) })) => message,
                // A kind of message from a newer worker.
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => break,
            };
            if matches!(message, Message::Goodbye(_)) {
                break;
            }
            match role {
                Role::Nobody => self.refuse(message),
                Role::Leads => {
                    if let Some(heard) = heard(message, stream) {
                        self.desk.send(Ask::Heard { stream, heard, received: Instant::now() }).ok();
                    }
                }
                Role::Follows => {
                    let message = WorkerMessage { message: Some(message) };
                    self.desk.send(Ask::Passed { stream, message }).ok();
                }
            }
        }
        tracing::info!(session.id = hello.session_id, stream.id = %stream, "a worker's stream ended");
    }

    /// Nobody decides, so nothing is granted; what a worker returns it says again over its next stream.
    fn refuse(&self, message: Message) {
        if let Message::Acquire(acquire) = message {
            let denied = v1::Denied {
                lease_id: acquire.lease_id,
                reason: Reason::LedgerAway.into(),
                retry_after_ms: whole_millis(self.retry),
                ..v1::Denied::default()
            };
            let message = Some(coordinator_message::Message::Denied(denied));
            self.answers.send(Ok(v1::CoordinatorMessage { message })).ok();
        }
    }
}

/// Checks what a worker says; none when there is nothing to do about it.
pub(crate) fn heard(message: Message, stream: Uuid) -> Option<Heard> {
    let ids = |ids: &[String]| ids.iter().filter_map(|id| lease_id(id)).collect();
    match message {
        Message::Acquire(acquire) => {
            let wait = Duration::from_millis(acquire.wait_ms).min(Duration::from_secs(3600));
            let id = acquire.lease_id.clone();
            Some(match claim(acquire, stream) {
                Ok(claim) => Heard::Acquire { claim, wait },
                Err(why) => Heard::Invalid { lease_id: id, why },
            })
        }
        Message::Renew(renew) => Some(Heard::Renew { renewal: renew.renewal, ids: ids(&renew.lease_ids) }),
        Message::Release(release) => {
            let spent = release.spent.iter().filter_map(|spent| {
                let rates = spent.rates.iter().map(|rate| (named(rate), rate.spent)).collect();
                Some((lease_id(&spent.lease_id)?, rates))
            });
            let (lease_ids, in_doubt) = (ids(&release.lease_ids), ids(&release.in_doubt));
            Some(Heard::Release { ids: lease_ids, in_doubt, spent: spent.collect() })
        }
        Message::Draw(draw) => {
            let id = lease_id(&draw.lease_id)?;
            let rates = draw.rates.iter().map(claimed_rate).collect::<Result<_, _>>().ok()?;
            Some(Heard::Draw { id, draw: draw.draw, rates })
        }
        Message::BackOff(back_off) if is_name(&back_off.key) => {
            // Clamped as every word of a server is (design §4).
            let pause = Duration::from_millis(back_off.for_ms.clamp(1_000, 3_600_000));
            tracing::info!(
                limit.key = back_off.key,
                pause.seconds = pause.as_secs(),
                "a server asked to be left alone"
            );
            Some(Heard::BackOff { key: back_off.key, pause })
        }
        Message::BackOff(_) | Message::Goodbye(_) | Message::Hello(_) => None,
    }
}

/// Checks a request and works out what each class is due; an error says what is wrong with it.
fn claim(acquire: v1::Acquire, stream: Uuid) -> Result<Claim, String> {
    let id = lease_id(&acquire.lease_id).ok_or("`lease_id` is no UUID; choose a new one per request")?;
    let class = class_from_wire(acquire.class).ok_or("`class` names no class of service")?;
    if acquire.limits.is_empty() || acquire.limits.len() > 16 {
        return Err(
            "`limits` must name 1 to 16 limits; a lease that counts nowhere needs no coordinator".to_owned()
        );
    }
    let in_doubt = acquire.limits.iter().map(|limit| limit.in_doubt_ms).max().unwrap_or(0);
    let mut limits = Vec::with_capacity(acquire.limits.len());
    for limit in acquire.limits {
        let limit = claimed(limit, class)?;
        if limits.iter().any(|other: &ClaimedLimit| other.key == limit.key) {
            return Err(format!("`limits` names `{}` twice; a lease counts once in each limit", limit.key));
        }
        limits.push(limit);
    }
    if acquire.rates.len() > 16 {
        return Err("`rates` must name at most 16 rates".to_owned());
    }
    let mut rates = Vec::with_capacity(acquire.rates.len());
    for rate in acquire.rates {
        let rate = claimed_rate(&rate)?;
        if rates.iter().any(|other: &ClaimedRate| other.key == rate.key) {
            return Err(format!("`rates` names `{}` twice; name each rate once", rate.key));
        }
        rates.push(rate);
    }
    let holder = acquire.holder.unwrap_or_default();
    let holder: String = format!("{}/{}/{}", holder.profile_id, holder.mailbox_id, holder.workload)
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    let class = class_at(class);
    Ok(Claim { id, stream, class, limits, holder, in_doubt: Duration::from_millis(in_doubt), rates })
}

fn claimed(limit: v1::Limit, class: ServiceClass) -> Result<ClaimedLimit, String> {
    if !is_name(&limit.key) {
        return Err("a limit's `key` must be 1 to 512 printable characters".to_owned());
    }
    if !(1..=65_536).contains(&limit.capacity) {
        return Err(format!(
            "the capacity of `{}` is {}; set the profile's limit to 1 to 65,536 connections",
            limit.key, limit.capacity
        ));
    }
    let served: Vec<_> = limit
        .served
        .iter()
        .filter_map(|served| {
            let class = class_from_wire(served.class)?;
            Some(Served { class, share: served.share, ceiling_percent: served.ceiling_percent })
        })
        .collect();
    if !served.iter().any(|served| served.class == class) {
        return Err(format!("`{}` does not serve the class {class}; name it in `served`", limit.key));
    }
    let terms = Terms::new(limit.capacity, limit.spare_for_watch, &quotas(limit.capacity, &served));
    Ok(ClaimedLimit { key: Arc::from(limit.key), version: limit.version, terms })
}

/// A day is the longest window that a provider counts in.
const LONGEST_WINDOW: u64 = 86_400_000;

fn claimed_rate(rate: &v1::Rate) -> Result<ClaimedRate, String> {
    if !is_name(&rate.key) {
        return Err("a rate's `key` must be 1 to 512 printable characters".to_owned());
    }
    if !(1_000..=LONGEST_WINDOW).contains(&rate.window_ms) || rate.amount == 0 {
        return Err(format!("the rate `{}` must be at least 1, in a window of a second to a day", rate.key));
    }
    Ok(ClaimedRate {
        key: named(rate),
        amount: rate.amount,
        least: rate.least,
        most: rate.most.max(rate.least),
        spent: rate.spent,
        allowed: rate.allowed,
    })
}

fn named(rate: &v1::Rate) -> Arc<str> {
    rate_key(Duration::from_millis(rate.window_ms), &rate.key)
}

fn lease_id(text: &str) -> Option<Uuid> {
    text.parse().ok()
}

/// Keys are stored between tabs and lines.
fn is_name(key: &str) -> bool {
    (1..=512).contains(&key.len()) && !key.chars().any(char::is_control)
}

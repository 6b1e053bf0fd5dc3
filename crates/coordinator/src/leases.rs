//! The gRPC side: reads what workers say, checks it, and hands it to the desk. No decision is made here.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use model::clock;
use model::secret::Secret;
use model::workload::ServiceClass;
use throttle::v1::{
    self, WorkerMessage, coordinator_message, denied::Reason, leases_server::Leases, worker_message::Message,
};
use throttle::{Served, class_from_wire, quotas};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::desk::{Answers, Ask};
use crate::ledger::{self, Claim, ClaimedLimit};

/// How many leases one message may name; longer ones are worked off in parts.
const PART: usize = 128;

#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) desk: mpsc::UnboundedSender<Ask>,
    pub(crate) redis_url: Secret,
    pub(crate) prefix: String,
    pub(crate) redis_timeout: Duration,
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
        let stream: Uuid = clock::new_id();
        let desk = self.desk.clone();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            // A stream that this coordinator ends says nothing about its worker.
            if shutdown.run_until_cancelled(serve(incoming, &desk, stream, &answers)).await.is_some() {
                desk.send(Ask::Ended { stream }).ok();
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let read = async {
            let client = ledger::open(&self.redis_url)?;
            let mut connection = ledger::connect(&client, self.redis_timeout).await?;
            ledger::status::read(&mut connection, &self.prefix, &request.get_ref().key_prefix).await
        };
        read.await.map(Response::new).map_err(|error: redis::RedisError| {
            tracing::warn!(kind = error.category(), "the ledger could not be read");
            Status::unavailable("the ledger in Redis does not answer; check that Redis runs")
        })
    }

    async fn free(&self, request: Request<v1::FreeRequest>) -> Result<Response<v1::FreeReply>, Status> {
        let id = lease_id(&request.get_ref().lease_id).ok_or_else(|| {
            Status::invalid_argument("`lease_id` is no UUID; take it from `lockstep status`")
        })?;
        let (freed, answer) = oneshot::channel();
        let away = || Status::unavailable("the ledger in Redis does not answer; check that Redis runs");
        self.desk.send(Ask::Free { id, freed }).map_err(|_| away())?;
        let freed = answer.await.map_err(|_| away())?;
        tracing::info!(lease.id = %id, freed, "an administrator freed a lease");
        Ok(Response::new(v1::FreeReply { freed }))
    }
}

/// Reads one worker's stream to its end.
async fn serve(
    mut incoming: Streaming<WorkerMessage>,
    desk: &mpsc::UnboundedSender<Ask>,
    stream: Uuid,
    answers: &Answers,
) {
    let hello = tokio::time::timeout(Duration::from_secs(10), incoming.message()).await;
    let Ok(Ok(Some(WorkerMessage { message: Some(Message::Hello(hello)) }))) = hello else {
        answers.send(Err(Status::invalid_argument("the first message of a stream is Hello"))).ok();
        return;
    };
    tracing::info!(session.id = hello.session_id, worker.process = hello.process, stream.id = %stream, "a worker is here");
    loop {
        let message = match incoming.message().await {
            Ok(Some(WorkerMessage { message: Some(message) })) => message,
            // A kind of message from a newer worker.
            Ok(Some(_)) => continue,
            Ok(None) | Err(_) => break,
        };
        match message {
            Message::Acquire(acquire) => {
                let (wait, again) = (Duration::from_millis(acquire.wait_ms), acquire.again);
                let id = acquire.lease_id.clone();
                match claim(acquire, stream) {
                    Ok(claim) => {
                        let received = Instant::now();
                        let wait = wait.min(Duration::from_secs(3600));
                        desk.send(Ask::Acquire { claim, wait, again, received, answers: answers.clone() })
                            .ok();
                    }
                    Err(why) => deny(answers, id, why),
                }
            }
            Message::Renew(renew) => {
                let ids: Vec<_> = renew.lease_ids.iter().filter_map(|id| lease_id(id)).collect();
                for ids in ids.chunks(PART) {
                    let (ids, answers) = (ids.to_vec(), answers.clone());
                    desk.send(Ask::Renew { renewal: renew.renewal, ids, stream, answers }).ok();
                }
            }
            Message::Release(release) => {
                let ids: Vec<_> = release.lease_ids.iter().filter_map(|id| lease_id(id)).collect();
                for ids in ids.chunks(PART) {
                    desk.send(Ask::Release { ids: ids.to_vec(), answers: answers.clone() }).ok();
                }
            }
            Message::BackOff(back_off) => {
                // Clamped as every word of a server is (design §4).
                let pause = Duration::from_millis(back_off.for_ms.clamp(1_000, 3_600_000));
                if is_name(&back_off.key) {
                    tracing::info!(
                        limit.key = back_off.key,
                        pause.seconds = pause.as_secs(),
                        "a server asked to be left alone"
                    );
                    desk.send(Ask::BackOff { key: back_off.key, pause }).ok();
                }
            }
            Message::Goodbye(_) => break,
            Message::Hello(_) => {}
        }
    }
    tracing::info!(session.id = hello.session_id, stream.id = %stream, "a worker's stream ended");
}

fn deny(answers: &Answers, lease_id: String, message: String) {
    let denied = v1::Denied { lease_id, reason: Reason::Invalid.into(), message, ..v1::Denied::default() };
    let message = Some(coordinator_message::Message::Denied(denied));
    answers.send(Ok(v1::CoordinatorMessage { message })).ok();
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
    let holder = acquire.holder.unwrap_or_default();
    let holder: String = format!("{}/{}/{}", holder.profile_id, holder.mailbox_id, holder.workload)
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect();
    Ok(Claim { id, stream, class, limits, holder, in_doubt: Duration::from_millis(in_doubt) })
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
    let quotas = quotas(limit.capacity, &served);
    Ok(ClaimedLimit::new(limit.key, limit.version, limit.capacity, limit.spare_for_watch, &quotas))
}

fn lease_id(text: &str) -> Option<Uuid> {
    text.parse().ok()
}

/// Keys are stored between tabs and lines.
fn is_name(key: &str) -> bool {
    (1..=512).contains(&key.len()) && !key.chars().any(char::is_control)
}

//! The one task behind every [`Throttle`](crate::Throttle): it keeps a stream to a coordinator, remembers what was
//! asked and what is held, and says both again over the next stream. It never extends a lease on its own word.

mod answers;

use std::collections::HashMap;
use std::time::Duration;

use model::clock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Streaming};
use uuid::Uuid;

use crate::client::Session;
use crate::lease::{Lease, Life};
use crate::rate::{Meters, Rate, Spent};
use crate::request::{AcquireRequest, Denied, millis};
use crate::v1::{self, leases_client::LeasesClient, worker_message};

/// What handles and leases ask of the link.
#[derive(Debug)]
pub(crate) enum Command {
    Acquire {
        id: Uuid,
        request: AcquireRequest,
        rates: Vec<Rate>,
        deadline: Instant,
        answer: oneshot::Sender<Result<Lease, Denied>>,
    },
    Release {
        id: Uuid,
        /// The server may go on counting its connection.
        in_doubt: bool,
        /// What was spent under it.
        spent: Vec<v1::Rate>,
        done: Option<oneshot::Sender<()>>,
    },
    /// More is to be allowed under a lease.
    Draw {
        id: Uuid,
        rates: Vec<v1::Rate>,
        answer: oneshot::Sender<Result<Vec<u64>, Spent>>,
    },
    BackOff {
        key: String,
        pause: Duration,
    },
    Goodbye {
        done: oneshot::Sender<()>,
    },
}

#[derive(Debug)]
pub(crate) struct Link {
    endpoints: Vec<Endpoint>,
    bearer: MetadataValue<Ascii>,
    session: Session,
    commands: mpsc::WeakUnboundedSender<Command>,
    inbox: mpsc::UnboundedReceiver<Command>,
    asked: HashMap<Uuid, Asked>,
    held: HashMap<Uuid, Held>,
    /// Released here, and the ledger is not known to have it.
    releasing: HashMap<Uuid, Releasing>,
    /// What is asked for under leases, one at a time.
    draws: HashMap<Uuid, Drawing>,
    next_draw: u64,
    /// Back-off that no coordinator was there to hear.
    back_off: HashMap<String, Instant>,
    renewals: HashMap<u64, Instant>,
    next_renewal: u64,
    renew_every: Duration,
    /// Dropped with the link, which tells the caller that the goodbye was said.
    said_goodbye: Option<oneshot::Sender<()>>,
    /// Nobody asks for anything any more; until then a coordinator is looked for that hears what it is owed.
    leaving: Option<Instant>,
}

/// A request without an answer yet.
#[derive(Debug)]
struct Asked {
    request: AcquireRequest,
    rates: Vec<Rate>,
    deadline: Instant,
    /// When it was said over the present stream.
    at: Instant,
    sent_before: bool,
    answer: oneshot::Sender<Result<Lease, Denied>>,
}

/// A lease that nobody holds any more.
#[derive(Debug)]
struct Releasing {
    in_doubt: bool,
    spent: Vec<v1::Rate>,
    done: Option<oneshot::Sender<()>>,
}

/// More that is asked for under a lease.
#[derive(Debug)]
struct Drawing {
    draw: u64,
    rates: Vec<v1::Rate>,
    answer: oneshot::Sender<Result<Vec<u64>, Spent>>,
}

/// A lease that somebody holds.
#[derive(Debug)]
struct Held {
    life: watch::Sender<Life>,
    /// What it is allowed of rates.
    meters: Meters,
    /// The life in hand counts from here.
    since: Instant,
}

/// How a stream came to its end.
#[derive(Debug, PartialEq)]
enum Ended {
    /// The coordinator went away.
    Cut,
    /// Nobody is left who could ask, and no coordinator is owed a word, or none was there in time to hear it.
    Done,
}

/// For how long what is owed is tried to be said after goodbye, whose caller waits for it.
const FAREWELL: Duration = Duration::from_secs(2);
/// The same when nobody waits for it.
const AFTERWARDS: Duration = Duration::from_secs(60);

type Outgoing = mpsc::UnboundedSender<v1::WorkerMessage>;

impl Link {
    pub(crate) fn new(
        endpoints: Vec<Endpoint>,
        bearer: MetadataValue<Ascii>,
        session: Session,
        commands: mpsc::WeakUnboundedSender<Command>,
        inbox: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            endpoints,
            bearer,
            session,
            commands,
            inbox,
            asked: HashMap::new(),
            held: HashMap::new(),
            releasing: HashMap::new(),
            draws: HashMap::new(),
            next_draw: 0,
            back_off: HashMap::new(),
            renewals: HashMap::new(),
            next_renewal: 0,
            renew_every: Duration::from_secs(1),
            said_goodbye: None,
            leaving: None,
        }
    }

    /// Tries one coordinator after the other, beginning anywhere, with a pause that grows to 5 s and has jitter.
    pub(crate) async fn run(mut self) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction below one times a handful of coordinators"
        )]
        let mut turn = (clock::random_fraction() * self.endpoints.len() as f64) as usize;
        let mut failures = 0_u32;
        loop {
            let endpoint = self.endpoints[turn % self.endpoints.len()].clone();
            turn += 1;
            let begun = Instant::now();
            match self.open(&endpoint).await {
                Some(Ok((outgoing, incoming))) => {
                    if self.serve(outgoing, incoming).await == Ended::Done {
                        return;
                    }
                    if begun.elapsed() > Duration::from_secs(5) {
                        failures = 0;
                    }
                    tracing::warn!(coordinator.url = %endpoint.uri(), "the stream to the coordinator ended; opening another");
                }
                Some(Err(status))
                    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) =>
                {
                    tracing::error!(coordinator.url = %endpoint.uri(), reason = status.message(), "the coordinator refuses this process");
                    failures += 5;
                }
                Some(Err(status)) => {
                    tracing::warn!(coordinator.url = %endpoint.uri(), code = ?status.code(), "no coordinator answers here");
                }
                None => return,
            }
            // Who leaves has no time to lose.
            let doublings = if self.leaving.is_some() { 0 } else { failures.min(6) };
            let pause = Duration::from_millis(50 << doublings).mul_f64(0.5 + clock::random_fraction());
            failures += 1;
            if self.idle_until(Instant::now() + pause).await == Ended::Done {
                return;
            }
        }
    }

    /// Opens a stream and says hello, while commands are still heard; none when nobody can ask any more.
    async fn open(
        &mut self,
        endpoint: &Endpoint,
    ) -> Option<Result<(Outgoing, Streaming<v1::CoordinatorMessage>), tonic::Status>> {
        let bearer = self.bearer.clone();
        let endpoint = endpoint.clone();
        let hello = worker_message::Message::Hello(v1::Hello {
            session_id: self.session.id.to_string(),
            process: self.session.process.clone(),
        });
        let opening = async move {
            let channel = endpoint.connect().await.map_err(|_| tonic::Status::unavailable("not reached"))?;
            let (outgoing, messages) = mpsc::unbounded_channel();
            say(&outgoing, hello);
            let mut request = Request::new(UnboundedReceiverStream::new(messages));
            request.metadata_mut().insert("authorization", bearer);
            let incoming = LeasesClient::new(channel).hold(request).await?.into_inner();
            Ok((outgoing, incoming))
        };
        tokio::pin!(opening);
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let leaving = self.leaving;
            tokio::select! {
                opened = &mut opening => return Some(opened),
                () = tokio::time::sleep_until(limit) => return Some(Err(tonic::Status::deadline_exceeded("no answer"))),
                () = passed(leaving) => return None,
                command = self.inbox.recv(), if leaving.is_none() => self.hear(command, None)?,
            }
        }
    }

    /// Waits without a coordinator.
    async fn idle_until(&mut self, until: Instant) -> Ended {
        loop {
            let leaving = self.leaving;
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ended::Cut,
                () = passed(leaving) => return Ended::Done,
                command = self.inbox.recv(), if leaving.is_none() => {
                    if self.hear(command, None).is_none() {
                        return Ended::Done;
                    }
                    if self.leaving.is_some() {
                        return Ended::Cut;
                    }
                }
            }
        }
    }

    /// One stream, from its first word to its end.
    async fn serve(&mut self, outgoing: Outgoing, mut incoming: Streaming<v1::CoordinatorMessage>) -> Ended {
        self.renewals.clear();
        self.say_everything(&outgoing);
        if self.leaving.is_some() {
            return self.part(outgoing, incoming).await;
        }
        loop {
            let tick = tokio::time::sleep(self.renew_every / 4);
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    command = self.inbox.recv() => {
                        if self.hear(command, Some(&outgoing)).is_none() {
                            return self.part(outgoing, incoming).await;
                        }
                    }
                    message = incoming.message() => match message {
                        Ok(Some(v1::CoordinatorMessage { message: Some(message) })) => self.learn(message),
                        Ok(Some(_)) => {}
                        Ok(None) => return Ended::Cut,
                        Err(status) => {
                            if status.code() == Code::Unauthenticated {
                                tracing::error!(reason = status.message(), "the coordinator refuses this process");
                            }
                            return Ended::Cut;
                        }
                    },
                    () = &mut tick => break,
                }
            }
            self.renew(&outgoing, self.renew_every);
            // Whoever asked has stopped waiting a second after his deadline; forget what nobody answered.
            let now = Instant::now();
            self.asked.retain(|_, asked| now < asked.deadline + Duration::from_secs(2));
        }
    }

    /// What the coordinator must know at the beginning of a stream, whatever was said over the last one.
    fn say_everything(&mut self, outgoing: &Outgoing) {
        self.renew(outgoing, Duration::ZERO);
        if !self.releasing.is_empty() {
            let mut release = v1::Release::default();
            for (id, releasing) in &self.releasing {
                release.push(*id, releasing.in_doubt, &releasing.spent);
            }
            say(outgoing, worker_message::Message::Release(release));
        }
        let now = Instant::now();
        for (key, until) in self.back_off.drain() {
            let for_ms = millis(until.saturating_duration_since(now));
            say(outgoing, worker_message::Message::BackOff(v1::BackOff { key, for_ms }));
        }
        for (id, asked) in &mut self.asked {
            asked.say(*id, outgoing);
        }
        // Nobody waits for an answer to this.
        for (id, held) in &self.held {
            let rates = held.meters.allowed();
            if !rates.is_empty() {
                let draw = v1::Draw { lease_id: id.to_string(), draw: 0, rates };
                say(outgoing, worker_message::Message::Draw(draw));
            }
        }
        for (id, drawing) in &self.draws {
            drawing.say(*id, outgoing);
        }
    }

    /// Does what a handle asked, or what is left to do when there is none any more. None when that is to leave: at once
    /// with a stream, and without one when nobody is owed a word.
    fn hear(&mut self, command: Option<Command>, outgoing: Option<&Outgoing>) -> Option<()> {
        let Some(command) = command else { return self.leave(AFTERWARDS, outgoing) };
        match command {
            Command::Acquire { id, request, rates, deadline, answer } => {
                let at = Instant::now();
                let mut asked = Asked { request, rates, deadline, at, sent_before: false, answer };
                if let Some(outgoing) = outgoing {
                    asked.say(id, outgoing);
                }
                self.asked.insert(id, asked);
            }
            Command::Release { id, in_doubt, spent, done } => {
                self.held.remove(&id);
                self.draws.remove(&id);
                // An id that no coordinator ever heard needs no word.
                let unheard = self.asked.remove(&id).is_some_and(|asked| !asked.sent_before);
                if !unheard {
                    if let Some(outgoing) = outgoing {
                        let mut release = v1::Release::default();
                        release.push(id, in_doubt, &spent);
                        say(outgoing, worker_message::Message::Release(release));
                    }
                    self.releasing.insert(id, Releasing { in_doubt, spent, done });
                }
            }
            Command::Draw { id, rates, answer } => {
                self.next_draw += 1;
                let drawing = Drawing { draw: self.next_draw, rates, answer };
                if let Some(outgoing) = outgoing {
                    drawing.say(id, outgoing);
                }
                self.draws.insert(id, drawing);
            }
            Command::BackOff { key, pause } => match outgoing {
                Some(outgoing) => {
                    let for_ms = millis(pause);
                    say(outgoing, worker_message::Message::BackOff(v1::BackOff { key, for_ms }));
                }
                None => {
                    self.back_off.insert(key, Instant::now() + pause);
                }
            },
            Command::Goodbye { done } => {
                self.said_goodbye = Some(done);
                return self.leave(FAREWELL, outgoing);
            }
        }
        Some(())
    }

    /// Everything that this process had is to be given back, in doubt what is in doubt.
    fn leave(&mut self, patience: Duration, outgoing: Option<&Outgoing>) -> Option<()> {
        self.leaving = Some(Instant::now() + patience);
        let mut rest = v1::Release::default();
        let asked = self.asked.drain().filter(|(_, asked)| asked.sent_before).map(|(id, _)| id);
        for id in self.held.drain().map(|(id, _)| id).chain(asked) {
            // What was spent under it nobody here knows: all of it counts.
            rest.push(id, false, &[]);
            self.releasing.insert(id, Releasing { in_doubt: false, spent: Vec::new(), done: None });
        }
        match outgoing {
            Some(outgoing) => say(outgoing, worker_message::Message::Release(rest)),
            None if !self.releasing.is_empty() => return Some(()),
            None => {}
        }
        None
    }

    /// Says goodbye and keeps the stream open until the coordinator has read it and closed its side. When it goes away
    /// instead, another may have to hear it all.
    async fn part(&mut self, outgoing: Outgoing, mut incoming: Streaming<v1::CoordinatorMessage>) -> Ended {
        say(&outgoing, worker_message::Message::Goodbye(v1::Goodbye {}));
        drop(outgoing);
        let closed = async {
            loop {
                match incoming.message().await {
                    Ok(Some(v1::CoordinatorMessage { message: Some(message) })) => self.learn(message),
                    Ok(Some(_)) => {}
                    Ok(None) => return true,
                    Err(_) => return false,
                }
            }
        };
        let heard = tokio::time::timeout(FAREWELL, closed).await.unwrap_or(true);
        if heard || self.releasing.is_empty() { Ended::Done } else { Ended::Cut }
    }

    /// Asks to keep what was last confirmed at least `age` ago.
    fn renew(&mut self, outgoing: &Outgoing, age: Duration) {
        let now = Instant::now();
        // What was lost here stays lost, even where the ledger still counts it: its connection is being reset.
        self.held.retain(|_, held| held.life.borrow().holds());
        let lease_ids: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| now - held.since >= age)
            .map(|(id, _)| id.to_string())
            .collect();
        if lease_ids.is_empty() {
            return;
        }
        let renewal = self.next_renewal;
        self.next_renewal += 1;
        // Answers that never came are of no use after a lease's whole life.
        self.renewals.retain(|_, at| now - *at < self.renew_every * 10);
        self.renewals.insert(renewal, now);
        say(outgoing, worker_message::Message::Renew(v1::Renew { renewal, lease_ids }));
    }
}

impl v1::Release {
    fn push(&mut self, id: Uuid, in_doubt: bool, spent: &[v1::Rate]) {
        let list = if in_doubt { &mut self.in_doubt } else { &mut self.lease_ids };
        list.push(id.to_string());
        if !spent.is_empty() {
            self.spent.push(v1::Spent { lease_id: id.to_string(), rates: spent.to_vec() });
        }
    }
}

impl Asked {
    fn say(&mut self, id: Uuid, outgoing: &Outgoing) {
        self.at = Instant::now();
        let wait = self.deadline.saturating_duration_since(self.at);
        let mut message = self.request.to_wire(id.to_string(), wait, self.sent_before);
        message.rates = self.rates.iter().map(Rate::to_wire).collect();
        self.sent_before = true;
        say(outgoing, worker_message::Message::Acquire(message));
    }
}

impl Drawing {
    fn say(&self, id: Uuid, outgoing: &Outgoing) {
        let draw = v1::Draw { lease_id: id.to_string(), draw: self.draw, rates: self.rates.clone() };
        say(outgoing, worker_message::Message::Draw(draw));
    }
}

/// A moment that may never come.
async fn passed(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Puts a message on the stream. When the stream is gone its end is heard soon, and everything is said again.
fn say(outgoing: &Outgoing, message: worker_message::Message) {
    outgoing.send(v1::WorkerMessage { message: Some(message) }).ok();
}

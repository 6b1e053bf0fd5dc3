//! A term in which this coordinator holds the pen: while one batch is being written the next one is decided.

use std::collections::HashMap;
use std::pin::Pin;

use model::crash::{self, Point};
use redis::RedisResult;
use throttle::v1::{self, coordinator_message::Message, parcel::Content};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lead::{Batch, Lead, Saying};
use super::rules;
use super::search::Taken;
use super::{Answers, Ask, Desk, PAUSE, Role};
use crate::book::Book;
use crate::leases::heard;
use crate::ledger::line::{Line, Post};
use crate::ledger::{self, Connection, Pen, Restored};

/// Where something that was decided goes.
enum Route {
    Stream(Answers),
    Freed(oneshot::Sender<bool>),
    /// To another coordinator's line.
    Line(Uuid),
}

/// The ways to Redis, as long as all of them work.
struct Ways {
    connection: Connection,
    line: Line,
    post: Post,
}

/// A batch on its way; with when it was sent, if the pen was still ours.
type Writing = Pin<Box<dyn Future<Output = (RedisResult<Option<Instant>>, Batch)> + Send>>;

/// How a step ended.
enum Step {
    Done,
    /// Redis does not answer, or does not have what was written.
    Trouble,
}

struct Leading {
    lead: Lead,
    pen: Pen,
    routes: HashMap<Uuid, Route>,
    outbox: HashMap<Uuid, Vec<v1::Parcel>>,
    /// When the pen was last known to be ours.
    confirmed: Instant,
}

impl Desk {
    /// Decides until shutdown or until somebody else has the pen.
    pub(super) async fn lead(&mut self, taken: Taken, shutdown: &CancellationToken) {
        let Taken { pen, written, confirmed, connection, line } = taken;
        let now = Instant::now();
        let mut book = Book::new(self.lease);
        for (id, record) in &written.leases {
            if !book.load(*id, record, now) {
                tracing::error!(lease.id = %id, "a lease in Redis is not understood; it counts nowhere");
            }
        }
        for (key, record) in &written.rates {
            if !book.load_rate(key, record, now) {
                tracing::error!(
                    rate.key = key,
                    "what is spent of a rate in Redis is not understood; it counts nowhere"
                );
            }
        }
        for (key, pause) in &written.holds {
            book.load_hold(key, *pause, now);
        }
        if pen.quiet {
            book.be_quiet(self.quiet_after_loss, now);
        }
        let lead = Lead::new(book, self.lease, self.renew_every, self.retry);
        let mut leading = Leading { lead, pen, routes: HashMap::new(), outbox: HashMap::new(), confirmed };
        tracing::info!(pen = %leading.pen.id, leases = written.leases.len(), "this coordinator decides");
        self.begin_term(Role::Leads);
        let post = Post::new(connection.clone());
        let mut ways = Ways { connection, line, post };
        loop {
            let Some(batch) = self.decide(&mut leading, &mut ways, shutdown).await else {
                leading.end(&mut ways).await;
                return;
            };
            self.reach(false);
            tracing::warn!("the ledger in Redis is in trouble; no lease is granted until it is whole again");
            let denials = leading.lead.go_away(batch, Instant::now());
            leading.say(denials);
            leading.routes.retain(|_, route| !matches!(route, Route::Line(_)));
            leading.outbox.clear();
            let Some(restored) = self.restore(&mut leading, shutdown).await else { return };
            ways = restored;
            leading.lead.come_back();
            self.reach(true);
            self.known.epoch = Some(leading.pen.epoch.clone());
            self.known.sequence = leading.pen.sequence;
        }
    }

    /// As long as all is well; comes back with the batch that may not be written, or with none at shutdown.
    async fn decide(
        &mut self,
        leading: &mut Leading,
        ways: &mut Ways,
        shutdown: &CancellationToken,
    ) -> Option<Batch> {
        let mut beat = tokio::time::interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writing: Option<Writing> = None;
        let mut due = false;
        loop {
            let next = leading.lead.book.next_end();
            let step = tokio::select! {
                biased;
                () = shutdown.cancelled(), if writing.is_none() => return None,
                (written, batch) = written(&mut writing) => {
                    writing = None;
                    match written {
                        Ok(Some(begun)) => {
                            leading.confirmed = begun;
                            leading.pen.sequence += 1;
                            self.known.sequence = leading.pen.sequence;
                            leading.say(batch.sayings);
                            Step::Done
                        }
                        Ok(None) => return Some(batch),
                        Err(error) => {
                            tracing::error!(kind = ledger::kind(&error), "the ledger in Redis does not answer");
                            return Some(batch);
                        }
                    }
                }
                relay = ways.line.hear() => match relay {
                    Some(relay) => { leading.relayed(relay, Instant::now()); Step::Done }
                    None => Step::Trouble,
                },
                lost = ways.post.lost() => match lost {
                    Some(line) => { leading.forget(line); Step::Done }
                    None => Step::Trouble,
                },
                ask = self.inbox.recv() => {
                    let now = Instant::now();
                    leading.asked(ask?, now);
                    for _ in 1..self.batch {
                        let Ok(ask) = self.inbox.try_recv() else { break };
                        leading.asked(ask, now);
                    }
                    Step::Done
                }
                _ = beat.tick() => { due = true; Step::Done }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => Step::Done,
            };
            if matches!(step, Step::Trouble) {
                let batch = match writing.take() {
                    // The answer may be lost with the connection; what it grants is taken back either way.
                    Some(writing) => writing.await.1,
                    None => Batch::default(),
                };
                return Some(batch);
            }
            let now = Instant::now();
            if next.is_some_and(|next| next <= now) {
                leading.lead.pass(now);
            }
            leading.post(&ways.post, ways.line.id);
            if writing.is_none() && !shutdown.is_cancelled() && (due || leading.lead.has_news()) {
                due = false;
                leading.pen.quiet = !leading.lead.book.quiet_for(now).is_zero();
                let batch = leading.lead.batch(now);
                let (mut connection, pen) = (ways.connection.clone(), leading.pen.clone());
                writing = Some(Box::pin(async move {
                    let begun = Instant::now();
                    let grants = !batch.changes.written.is_empty();
                    if grants {
                        crash::point(Point::GrantBefore);
                    }
                    let written = connection.commit(&pen, &batch.changes).await;
                    if grants {
                        crash::point(Point::GrantAfter);
                    }
                    (written.map(|ours| ours.then_some(begun)), batch)
                }));
            }
        }
    }

    /// Writes everything down again, as soon as Redis answers; none at shutdown or when somebody else has the pen.
    async fn restore(&mut self, leading: &mut Leading, shutdown: &CancellationToken) -> Option<Ways> {
        loop {
            let attempted = {
                let attempt = async {
                    tokio::time::sleep(PAUSE).await;
                    self.attempt(leading).await
                };
                shutdown.run_until_cancelled(attempt).await?
            };
            match attempted {
                Ok(Some((ways, batch))) => {
                    leading.say(batch.sayings);
                    tracing::info!(pen = %leading.pen.id, "the ledger in Redis is whole again");
                    return Some(ways);
                }
                Ok(None) => {
                    tracing::warn!("another coordinator decides now");
                    return None;
                }
                Err(error) => {
                    tracing::debug!(kind = ledger::kind(&error), "Redis does not answer yet");
                }
            }
            let now = Instant::now();
            while let Ok(ask) = self.inbox.try_recv() {
                // People hear that the ledger is away.
                if !matches!(ask, Ask::Status { .. } | Ask::Free { .. }) {
                    leading.asked(ask, now);
                }
            }
            leading.lead.pass(now);
            let denials = leading.lead.say_while_away(now);
            leading.say(denials);
        }
    }

    /// One attempt to write everything; quiet from then on, if somebody else may have granted what is not known here.
    async fn attempt(&self, leading: &mut Leading) -> RedisResult<Option<(Ways, Batch)>> {
        let Leading { lead, pen, confirmed, .. } = leading;
        let mut connection = self.ledger.connect().await?;
        let line = Line::open(&self.ledger).await?;
        let run = connection.run().await?;
        let seen = connection.seen().await?;
        if seen.pen.is_some_and(|other| other != pen.id) {
            return Ok(None);
        }
        if rules::may_have_missed(pen, &seen, &run, confirmed.elapsed(), self.beat) {
            tracing::error!(
                "the ledger is not as it was left, and another coordinator may have decided meanwhile; nothing is \
                 granted until every lease that may have been given has ended"
            );
            lead.book.be_quiet(self.quiet_after_loss, Instant::now());
            pen.quiet = true;
        }
        let batch = lead.whole(Instant::now());
        let new = Pen { id: line.id, sequence: pen.sequence.max(seen.sequence) + 1, ..pen.clone() };
        let begun = Instant::now();
        match connection.restore(&seen, &new, &run.id, &batch.changes).await {
            Ok(Restored::Done) => {
                *pen = new;
                *confirmed = begun;
                let post = Post::new(connection.clone());
                Ok(Some((Ways { connection, line, post }, batch)))
            }
            Ok(Restored::AnothersPen) => Ok(None),
            Ok(Restored::Moved) => {
                let _ = lead.go_away(batch, Instant::now());
                Err((redis::ErrorKind::Io, "the ledger changed meanwhile").into())
            }
            Err(error) => {
                // It may be restored under the new pen, which is another's for who comes back with the old one. That
                // loses nothing but a change of hands.
                let _ = lead.go_away(batch, Instant::now());
                Err(error)
            }
        }
    }
}

async fn written(writing: &mut Option<Writing>) -> (RedisResult<Option<Instant>>, Batch) {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

impl Leading {
    /// In order: everything is written down, and the next coordinator takes over at once.
    async fn end(&mut self, ways: &mut Ways) {
        let batch = self.lead.batch(Instant::now());
        if let Ok(true) = ways.connection.commit(&self.pen, &batch.changes).await {
            self.say(batch.sayings);
            ways.connection.put_down(&self.pen).await.ok();
        }
    }

    fn asked(&mut self, ask: Ask, now: Instant) {
        match ask {
            Ask::Opened { stream, answers } => {
                self.routes.insert(stream, Route::Stream(answers));
            }
            Ask::Heard { stream, heard, received } => self.lead.hear(stream, heard, received, now),
            Ask::Passed { stream, message } => self.passed(stream, message, now),
            Ask::Ended { stream } => self.ended(stream, now),
            Ask::Status { begins, reply } => {
                reply.send(self.lead.book.status(&begins, now)).ok();
            }
            Ask::Free { id, reply } => {
                self.routes.insert(id, Route::Freed(reply));
                self.lead.free(id, Some(id), now);
            }
        }
    }

    fn passed(&mut self, stream: Uuid, message: v1::WorkerMessage, now: Instant) {
        if let Some(heard) = message.message.and_then(|message| heard(message, stream)) {
            self.lead.hear(stream, heard, now, now);
        }
    }

    fn ended(&mut self, stream: Uuid, now: Instant) {
        self.routes.remove(&stream);
        self.lead.stream_ended(stream, now);
    }

    /// What another coordinator passes on.
    fn relayed(&mut self, relay: v1::Relay, now: Instant) {
        let Ok(line) = relay.from.parse::<Uuid>() else { return };
        if relay.term != self.pen.id.to_string() {
            return;
        }
        for parcel in relay.parcels {
            let Ok(id) = Uuid::from_slice(&parcel.id) else { continue };
            match parcel.content {
                Some(Content::Said(message)) => {
                    self.routes.insert(id, Route::Line(line));
                    self.passed(id, message, now);
                }
                Some(Content::Ended(_)) => self.ended(id, now),
                Some(Content::AsksStatus(request)) => {
                    let status = self.lead.book.status(&request.key_prefix, now);
                    let content = Some(Content::Status(status));
                    let parcel = v1::Parcel { id: parcel.id, content };
                    self.outbox.entry(line).or_default().push(parcel);
                }
                Some(Content::AsksFree(request)) => {
                    self.routes.insert(id, Route::Line(line));
                    self.lead.free(id, request.lease_id.parse().ok(), now);
                }
                _ => {}
            }
        }
    }

    /// Nobody listens at a line any more. Its workers come again by other ways.
    fn forget(&mut self, line: Uuid) {
        self.routes.retain(|_, route| !matches!(route, Route::Line(other) if *other == line));
    }

    fn say(&mut self, sayings: Vec<Saying>) {
        for (to, content) in sayings {
            match self.routes.get(&to) {
                Some(Route::Stream(answers)) => {
                    let Content::Answered(message) = content else { continue };
                    if let Err(unheard) = answers.send(Ok(message))
                        && let Ok(v1::CoordinatorMessage { message: Some(Message::Granted(granted)) }) =
                            unheard.0
                        && let Ok(id) = granted.lease_id.parse()
                    {
                        self.lead.unheard(id, to, Instant::now());
                    }
                }
                Some(Route::Line(line)) => {
                    let parcel = v1::Parcel { id: to.as_bytes().to_vec(), content: Some(content) };
                    self.outbox.entry(*line).or_default().push(parcel);
                }
                Some(Route::Freed(_)) => {
                    if let (Some(Route::Freed(reply)), Content::Freed(reply_is)) =
                        (self.routes.remove(&to), content)
                    {
                        reply.send(reply_is.freed).ok();
                    }
                }
                // Its stream ended meanwhile. A grant that is not said is free with the end of its lease.
                None => {
                    if let Content::Answered(v1::CoordinatorMessage {
                        message: Some(Message::Granted(granted)),
                    }) = content
                        && let Ok(id) = granted.lease_id.parse()
                    {
                        self.lead.unheard(id, to, Instant::now());
                    }
                }
            }
        }
    }

    fn post(&mut self, post: &Post, from: Uuid) {
        for (line, parcels) in self.outbox.drain() {
            let relay = v1::Relay { term: self.pen.id.to_string(), from: from.to_string(), parcels };
            post.send(line, relay);
        }
    }
}

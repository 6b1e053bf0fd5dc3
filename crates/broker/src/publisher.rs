//! Sends invitations and says of each whether the broker has it. It never claims success that was not confirmed, and
//! never tries a message again by itself: what is not confirmed is made due again in the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::connection::{Link, blocked, within};
use crate::topology::{declare, depth};
use crate::trace::{TRACEPARENT, TRACESTATE};
use crate::{Config, Depth, Error, Invitation, Queue, TraceContext};

/// The delivery mode of a message that outlives a restart of the broker.
pub(crate) const PERSISTENT: u8 = 2;

/// How long a batch waits for the next confirm before it looks whether the broker blocks by now.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// An invitation and the trace it belongs to.
#[derive(Clone, Debug)]
pub struct Publication {
    /// What is offered; it knows its queue.
    pub invitation: Invitation,
    /// What the worker's trace will link to.
    pub trace: Option<TraceContext>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Published {
    /// The broker has it on disk.
    Confirmed,
    /// The broker refused it.
    Nacked,
    /// Its queue did not exist.
    Returned,
    /// Nothing is known: it may be in the queue or not.
    Unconfirmed,
}

/// What a publisher found when it was asked to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Queues that did not exist when the connection was made and were declared, with whatever had been in them
    /// gone: what the store holds as queued for them is due now. Each is told once.
    pub missing: Vec<Queue>,
    /// Whether the broker accepts no messages at present: nothing should be claimed.
    pub blocked: bool,
}

/// A connection that publishes, with a channel for each queue. One per process is enough; the batches of one queue follow
/// one another, those of different queues do not wait for each other.
pub struct Publisher {
    link: Link,
    window: usize,
    message_ttl: Duration,
    confirm_timeout: Duration,
    sessions: [tokio::sync::Mutex<Session>; Queue::ALL.len()],
    /// Raised when a queue may be gone: all of them are looked at before the next batch of any channel.
    doubts: AtomicU64,
    /// On which connection the queues were looked at, and what `doubts` was then.
    looked: tokio::sync::Mutex<(Weak<Connection>, u64)>,
    missing: Mutex<Vec<Queue>>,
}

#[derive(Default)]
struct Session {
    /// The channel, and the connection it was opened on: another lane may have given that one up meanwhile.
    channel: Option<(Weak<Connection>, Channel)>,
    /// What `doubts` was when the channel was opened.
    doubts: u64,
    backoff: Backoff,
    batch: u64,
}

impl Publisher {
    /// Makes a publisher that connects when it is first used. `name` is shown in `RabbitMQ`'s list of connections.
    /// Fails only when the address cannot be read.
    pub fn new(config: &Config, name: &str) -> Result<Self, Error> {
        Ok(Self {
            link: Link::new(config, name)?,
            window: usize::try_from(config.publish_window.get()).unwrap_or(usize::MAX),
            message_ttl: config.message_ttl(),
            confirm_timeout: config.confirm_timeout(),
            sessions: Default::default(),
            doubts: AtomicU64::default(),
            looked: tokio::sync::Mutex::default(),
            missing: Mutex::default(),
        })
    }

    /// Connects if need be, declares the queues, and says what was missing and whether messages are accepted. After a
    /// failure the next call waits a little before its one try, so that it may be called in a loop; dropping it in
    /// the middle loses nothing. To be called before anything is claimed: `RabbitMQ` tells nobody of a new alarm who
    /// does not publish, so this publishes something that goes nowhere.
    pub async fn ready(&self) -> Result<Ready, Error> {
        if !self.link.is_blocked() {
            // The channel that publishes nothing: no batch is ever waited for here.
            let mut session = self.session(Queue::Dead).lock().await;
            self.ensure(&mut session).await?;
            self.ask_whether_blocked().await?;
        }
        let missing = std::mem::take(&mut *self.missing.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Ready { missing, blocked: self.link.is_blocked() })
    }

    /// Whether the broker is known to accept no messages at present. It says so only when something is published.
    pub fn is_blocked(&self) -> bool {
        self.link.is_blocked()
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.link.standing().is_some()
    }

    /// Publishes a batch, with up to a window of messages under way at once, and answers for each in the order given; it goes
    /// over the channel of its first message's queue.
    /// Does not fail: where nothing is known the answer is [`Published::Unconfirmed`]. Do not drop it in the middle,
    /// or nothing is known of the whole batch.
    pub async fn publish_batch(&self, batch: &[Publication]) -> Vec<Published> {
        let mut outcomes = vec![Published::Unconfirmed; batch.len()];
        let Some(first) = batch.first().filter(|_| !self.link.is_blocked()) else { return outcomes };
        let mut session = self.session(first.invitation.queue()).lock().await;
        let channel = match self.ensure(&mut session).await {
            Ok(channel) => channel,
            Err(error) => {
                tracing::warn!(messages = batch.len(), "nothing was published: {error}");
                return outcomes;
            }
        };
        session.batch += 1;
        let prefix = format!("{}.", session.batch);
        let mut waiting = batch.iter().enumerate();
        let mut under_way = FuturesUnordered::new();
        let (mut returned, mut gone) = (Vec::new(), false);
        let mut last_heard = Instant::now();
        loop {
            while under_way.len() < self.window
                && let Some((index, publication)) = waiting.next()
            {
                let post = post(&channel, publication, format!("{prefix}{index}"));
                under_way.push(async move { (index, post.await) });
            }
            match tokio::time::timeout(LOOK_AROUND, under_way.next()).await {
                Ok(None) => break,
                Ok(Some((index, Ok(confirmation)))) => {
                    last_heard = Instant::now();
                    outcomes[index] = match &confirmation {
                        Confirmation::Ack(_) => Published::Confirmed,
                        Confirmation::Nack(_) => Published::Nacked,
                        Confirmation::NotRequested => Published::Unconfirmed,
                    };
                    // lapin hands a returned message to whichever confirmation comes next, and one confirmation of
                    // the broker may answer for many messages: only the message's own id says which it was.
                    if let Some(message) = confirmation.take_message() {
                        returned.extend(
                            message.properties.message_id().as_ref().and_then(|id| index_of(id, &prefix)),
                        );
                    }
                }
                Ok(Some((_, Err(error)))) => {
                    // The channel is gone, and with it every message that is still under way.
                    tracing::warn!(messages = batch.len(), "publishing stopped: {error}");
                    session.channel = None;
                    gone = true;
                    break;
                }
                Err(_) if !self.link.is_blocked() && last_heard.elapsed() < self.confirm_timeout => {}
                Err(_) => {
                    tracing::warn!(unconfirmed = under_way.len(), "the broker stopped confirming");
                    if let Some((connection, _)) = session.channel.take()
                        && !self.link.is_blocked()
                    {
                        self.link.discard(&connection);
                    }
                    break;
                }
            }
        }
        for index in returned {
            if let Some(outcome) = outcomes.get_mut(index) {
                *outcome = Published::Returned;
                gone = true;
            }
        }
        if gone {
            self.doubts.fetch_add(1, Ordering::SeqCst);
        }
        outcomes
    }

    /// How deep each queue is; one that does not exist is left out. Does not connect.
    pub async fn depths(&self) -> Result<Vec<Depth>, Error> {
        let connection =
            self.link.standing().ok_or_else(|| Error::Lost { cause: "not connected".to_owned() })?;
        if connection.status().blocked() {
            return Err(Error::Blocked { reason: "an alarm".to_owned() });
        }
        within(self.confirm_timeout, async {
            let mut depths = Vec::new();
            for queue in Queue::ALL {
                depths.extend(depth(&connection, queue).await?);
            }
            Ok(depths)
        })
        .await
    }

    /// A channel in confirm mode on a connection whose queues were looked at.
    async fn ensure(&self, session: &mut Session) -> Result<Channel, Error> {
        let doubts = self.doubts.load(Ordering::SeqCst);
        if let (Some((connection, channel)), Some(standing)) = (&session.channel, self.link.standing())
            && connection.ptr_eq(&Arc::downgrade(&standing))
            && session.doubts == doubts
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        session.channel = None;
        session.backoff.wait().await;
        match self.open(doubts).await {
            Ok((connection, channel)) => {
                session.backoff.succeeded();
                session.doubts = doubts;
                session.channel = Some((connection, channel.clone()));
                Ok(channel)
            }
            Err(error) => {
                session.backoff.failed();
                Err(error)
            }
        }
    }

    fn session(&self, queue: Queue) -> &tokio::sync::Mutex<Session> {
        let place = Queue::ALL.iter().position(|one| *one == queue).unwrap_or_default();
        &self.sessions[place]
    }

    async fn open(&self, doubts: u64) -> Result<(Weak<Connection>, Channel), Error> {
        let connection = self.link.connection().await?;
        let opened = within(self.confirm_timeout, async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let mut looked = self.looked.lock().await;
            let here = Arc::downgrade(&connection);
            if looked.0.ptr_eq(&here) && looked.1 == doubts {
                return Ok((here, channel));
            }
            for queue in declare(&connection, self.message_ttl).await? {
                tracing::info!(queue = %queue, "the queue was missing and has been declared");
                let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
                if !missing.contains(&queue) {
                    missing.push(queue);
                }
            }
            *looked = (Weak::clone(&here), doubts);
            Ok((here, channel))
        })
        .await;
        if matches!(opened, Err(Error::Lost { .. })) {
            self.link.discard(&Arc::downgrade(&connection));
        }
        opened
    }

    async fn ask_whether_blocked(&self) -> Result<(), Error> {
        let connection =
            self.link.standing().ok_or_else(|| Error::Lost { cause: "it ended just now".to_owned() })?;
        let asked = within(self.confirm_timeout, blocked(&connection)).await;
        match &asked {
            Ok(Some(reason)) => tracing::warn!("RabbitMQ accepts no messages at present: {reason}"),
            Ok(None) => {}
            Err(_) => self.link.discard(&Arc::downgrade(&connection)),
        }
        asked.map(drop)
    }
}

async fn post(
    channel: &Channel,
    publication: &Publication,
    message_id: String,
) -> lapin::Result<Confirmation> {
    let invitation = publication.invitation;
    let mut properties = BasicProperties::default()
        .with_content_type(invitation.content_type().into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message_id.into());
    if let Some(trace) = &publication.trace {
        properties = properties.with_headers(headers(trace));
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let queue = ShortString::from(invitation.queue().as_str());
    channel.basic_publish("".into(), queue, options, &invitation.encode(), properties).await?.await
}

fn headers(trace: &TraceContext) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(TRACEPARENT.into(), AMQPValue::LongString(trace.traceparent.as_str().into()));
    if !trace.tracestate.is_empty() {
        headers.insert(TRACESTATE.into(), AMQPValue::LongString(trace.tracestate.as_str().into()));
    }
    headers
}

fn index_of(message_id: &ShortString, prefix: &str) -> Option<usize> {
    message_id.as_str().strip_prefix(prefix)?.parse().ok()
}

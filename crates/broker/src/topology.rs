//! The queues, as data: what is declared, what a test compares with the broker, what a person reads. Work queues are
//! quorum queues with a message TTL and no dead-letter exchange; everything goes through the default exchange.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ErrorKind};
use model::workload::Workload;
use serde::Serialize;

use crate::Error;

/// A queue. The set is closed: what has no place here has no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum Queue {
    /// Sync cycles that bring mail in.
    Incoming,
    /// Sync cycles that send mail out.
    Outgoing,
    /// Sync cycles of appointments, contacts and tasks.
    Calendar,
    /// Async operations.
    Jobs,
    /// What a consumer could not decode, kept for a person to look at.
    Dead,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 5] = [Self::Incoming, Self::Outgoing, Self::Calendar, Self::Jobs, Self::Dead];

    /// The queue's name in `RabbitMQ`, and the routing key of what goes there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "lockstep.incoming",
            Self::Outgoing => "lockstep.outgoing",
            Self::Calendar => "lockstep.calendar",
            Self::Jobs => "lockstep.jobs",
            Self::Dead => "lockstep.dead",
        }
    }

    /// The queue that carries a workload's cycles.
    pub fn of(workload: Workload) -> Self {
        match workload {
            Workload::Incoming => Self::Incoming,
            Workload::Outgoing => Self::Outgoing,
            Workload::Act => Self::Calendar,
        }
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Queue> for &'static str {
    fn from(queue: Queue) -> Self {
        queue.as_str()
    }
}

/// How a queue is declared. Every queue is durable, and neither exclusive nor deleted by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Declaration {
    /// The queue.
    pub queue: Queue,
    /// The `x-` arguments, which the broker compares exactly.
    pub arguments: BTreeMap<&'static str, Argument>,
}

/// The value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A long string.
    Text(&'static str),
    /// A signed 64-bit number.
    Number(i64),
}

/// How many messages a queue holds and how many consumers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Depth {
    /// The queue.
    pub queue: Queue,
    /// Messages ready to be delivered; those under way to a consumer are not counted.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Newer brokers drop a message of a quorum queue that was given back 20 times unless told otherwise. A worker gives
/// back what it has no slot for, so the limit is one that no message reaches before its TTL.
const DELIVERY_LIMIT: i64 = 100_000;
const DEAD_MESSAGES: i64 = 10_000;
const DEAD_BYTES: i64 = 64 * 1024 * 1024;
const DEAD_TTL: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Every queue as it must be, for this message TTL of the work queues.
pub fn topology(message_ttl: Duration) -> Vec<Declaration> {
    Queue::ALL
        .into_iter()
        .map(|queue| {
            let ttl = if queue == Queue::Dead { DEAD_TTL } else { message_ttl };
            let milliseconds = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            let mut arguments = BTreeMap::from([
                ("x-queue-type", Argument::Text("quorum")),
                ("x-message-ttl", Argument::Number(milliseconds)),
            ]);
            if queue == Queue::Dead {
                arguments.extend([
                    ("x-max-length", Argument::Number(DEAD_MESSAGES)),
                    ("x-max-length-bytes", Argument::Number(DEAD_BYTES)),
                    ("x-overflow", Argument::Text("drop-head")),
                ]);
            } else {
                arguments.insert("x-delivery-limit", Argument::Number(DELIVERY_LIMIT));
            }
            Declaration { queue, arguments }
        })
        .collect()
}

/// Declares every queue and tells which were missing. Safe to run any number of times and from any number of
/// processes; of several that run at once, the one that declares a queue is told that it was missing.
pub(crate) async fn declare(connection: &Connection, message_ttl: Duration) -> Result<Vec<Queue>, Error> {
    let mut missing = Vec::new();
    for declaration in topology(message_ttl) {
        // Asked first, because a declaration does not say whether it made the queue.
        if depth(connection, declaration.queue).await?.is_none() {
            missing.push(declaration.queue);
        }
        declare_one(connection, &declaration).await?;
    }
    Ok(missing)
}

/// Declares one queue, on a channel of its own because a refusal closes the channel.
pub(crate) async fn declare_one(connection: &Connection, declaration: &Declaration) -> Result<(), Error> {
    let arguments = declaration
        .arguments
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString((*text).into()),
                Argument::Number(number) => AMQPValue::LongLongInt(*number),
            };
            ((*name).into(), value)
        })
        .collect::<BTreeMap<_, _>>();
    let queue = declaration.queue;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::from(arguments))
        .await
        .map_err(|error| match soft_error(&error) {
            Some((AMQPSoftError::PRECONDITIONFAILED, answer)) => Error::Topology { queue, answer },
            _ => error.into(),
        })?;
    Ok(())
}

/// How deep a queue is; none when it does not exist.
pub(crate) async fn depth(connection: &Connection, queue: Queue) -> Result<Option<Depth>, Error> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    match channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await {
        Ok(found) => {
            Ok(Some(Depth { queue, messages: found.message_count(), consumers: found.consumer_count() }))
        }
        Err(error) => match soft_error(&error) {
            // The same code also says that the queue exists but its node is down; that one must not be taken for
            // a queue that lost its messages.
            Some((AMQPSoftError::NOTFOUND, answer)) if answer.contains("no queue") => Ok(None),
            _ => Err(error.into()),
        },
    }
}

/// The error that closed a channel, with the broker's words.
pub(crate) fn soft_error(error: &lapin::Error) -> Option<(AMQPSoftError, String)> {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
    match protocol.kind() {
        AMQPErrorKind::Soft(soft) => Some((soft.clone(), protocol.get_message().to_string())),
        AMQPErrorKind::Hard(_) => None,
    }
}

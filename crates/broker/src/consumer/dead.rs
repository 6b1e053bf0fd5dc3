//! Keeps what could not be decoded in `lockstep.dead`, where a person can look at it. Only what the broker confirmed
//! to have there counts as kept.

use lapin::message::Delivery as Message;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::delivery::trace;
use crate::connection::Link;
use crate::publisher::PERSISTENT;
use crate::topology::declare_one;
use crate::trace::{TRACEPARENT, TRACESTATE};
use crate::{Config, Error, Queue, Undecodable, topology};

/// More of a message than this is not kept; what is no invitation may be of any size.
const LONGEST_BODY: usize = 64 * 1024;

/// A connection of its own, opened when there is something to keep: on a connection that publishes, a broker short
/// of memory would stop the acks as well.
pub(super) struct DeadLetters {
    link: Link,
    message_ttl: std::time::Duration,
    channel: tokio::sync::Mutex<Option<Channel>>,
}

impl DeadLetters {
    pub(super) fn new(config: &Config, name: &str) -> Result<Self, Error> {
        Ok(Self {
            link: Link::new(config, &format!("{name} (dead letters)"))?,
            message_ttl: config.message_ttl(),
            channel: tokio::sync::Mutex::default(),
        })
    }

    /// Publishes a copy with the reason in its headers, and returns when the broker has it.
    pub(super) async fn keep(
        &self,
        from: Queue,
        message: &Message,
        reason: &Undecodable,
    ) -> Result<(), Error> {
        let mut slot = self.channel.lock().await;
        // Taken out while in use: a call that was dropped in the middle leaves no channel behind that waits for a confirm.
        let channel = match slot.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.open().await?,
        };
        let body = &message.data[..message.data.len().min(LONGEST_BODY)];
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = properties(from, message, reason);
        let confirmation = channel
            .basic_publish("".into(), Queue::Dead.as_str().into(), options, body, properties)
            .await?
            .await?;
        match confirmation {
            Confirmation::Ack(None) => {
                *slot = Some(channel);
                Ok(())
            }
            // The next try declares the queue again.
            _ => Err(Error::Lost { cause: format!("{} did not take a message", Queue::Dead) }),
        }
    }

    async fn open(&self) -> Result<Channel, Error> {
        let connection = self.link.connection().await?;
        for declaration in
            topology(self.message_ttl).iter().filter(|declaration| declaration.queue == Queue::Dead)
        {
            declare_one(&connection, declaration).await?;
        }
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }
}

fn properties(from: Queue, message: &Message, reason: &Undecodable) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut insert = |name: &str, value: LongString| {
        headers.insert(name.into(), AMQPValue::LongString(value));
    };
    insert("lockstep-reason", reason.to_string().into());
    insert("lockstep-queue", from.as_str().into());
    insert("lockstep-received-at", model::clock::now().to_string().into());
    if let Some(content_type) = message.properties.content_type() {
        insert("lockstep-content-type", content_type.as_str().into());
    }
    if let Some(trace) = trace(message) {
        insert(TRACEPARENT, trace.traceparent.into());
        insert(TRACESTATE, trace.tracestate.into());
    }
    let size = u32::try_from(message.data.len()).unwrap_or(u32::MAX);
    headers.insert("lockstep-bytes".into(), AMQPValue::LongLongInt(size.into()));
    BasicProperties::default()
        .with_content_type("application/octet-stream".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers)
}

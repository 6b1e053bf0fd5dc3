//! One delivery: the invitation, its trace and the way to ack it.

use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::BasicAckOptions;
use lapin::types::AMQPValue;

use crate::trace::{TRACEPARENT, TRACESTATE};
use crate::{Invitation, Queue, TraceContext, Undecodable};

/// An invitation that a handler has in its hands. Dropped without an ack it stays with the broker until the channel
/// closes.
pub struct Delivery {
    /// What is offered.
    pub invitation: Invitation,
    /// The trace of whoever published it.
    pub trace: Option<TraceContext>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    acker: Acker,
}

impl Delivery {
    pub(super) fn new(invitation: Invitation, message: Message, channel: Channel) -> Self {
        Self {
            invitation,
            trace: trace(&message),
            redelivered: message.redelivered,
            acker: Acker { acker: message.acker, _channel: channel },
        }
    }

    /// Tells the broker to forget the message. Right after the claim was answered, whichever way. Where the channel
    /// is gone the message comes again, to someone whose claim will be refused.
    pub async fn ack(&self) {
        self.acker.ack().await;
    }

    pub(super) fn acker(&self) -> Acker {
        self.acker.clone()
    }
}

/// Acks one message, once. Keeps the channel open, which a consumer that stopped no longer does.
#[derive(Clone)]
pub(super) struct Acker {
    acker: lapin::Acker,
    _channel: Channel,
}

impl Acker {
    pub(super) async fn ack(&self) {
        if let Err(error) = self.acker.ack(BasicAckOptions::default()).await {
            tracing::debug!("a message could not be acked and will come again: {error}");
        }
    }
}

pub(super) fn decode(queue: Queue, message: &Message) -> Result<Invitation, Undecodable> {
    let content_type = message.properties.content_type().as_ref().map(lapin::types::ShortString::as_str);
    Invitation::decode(queue, content_type, &message.data)
}

pub(super) fn trace(message: &Message) -> Option<TraceContext> {
    let headers = message.properties.headers().as_ref()?;
    let text = |name: &str| match headers.inner().get(name)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    };
    TraceContext::read(text(TRACEPARENT)?, text(TRACESTATE))
}

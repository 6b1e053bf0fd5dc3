//! A coordinator's line to the others, by publish and subscribe. What is said on a line comes in order or the line
//! breaks; a broken line never comes back, and whoever had it calls from a new one.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use model::clock;
use prost::Message as _;
use redis::RedisResult;
use throttle::v1;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Connection, Ledger};

/// Where a coordinator is spoken to.
pub(crate) struct Line {
    /// Names the channel; a holder of the pen goes by it too.
    pub(crate) id: Uuid,
    messages: Pin<Box<dyn Stream<Item = redis::Msg> + Send>>,
}

impl Line {
    /// Subscribes to a channel that nobody used before.
    pub(crate) async fn open(ledger: &Ledger) -> RedisResult<Self> {
        let id = clock::new_id();
        let opening = async {
            let mut subscription = ledger.client.get_async_pubsub().await?;
            subscription.subscribe(ledger.channel(id)).await?;
            RedisResult::Ok(subscription)
        };
        let subscription = tokio::time::timeout(ledger.timeout, opening)
            .await
            .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))?;
        Ok(Self { id, messages: Box::pin(subscription.into_on_message()) })
    }

    /// What another coordinator said; none when the line is broken.
    pub(crate) async fn hear(&mut self) -> Option<v1::Relay> {
        loop {
            let message = self.messages.next().await?;
            match v1::Relay::decode(message.get_payload_bytes()) {
                Ok(relay) => return Some(relay),
                Err(error) => tracing::warn!(%error, "another coordinator said something unreadable"),
            }
        }
    }
}

/// Puts messages to other coordinators on their lines, in order.
#[derive(Debug)]
pub(crate) struct Post {
    messages: mpsc::UnboundedSender<(Uuid, v1::Relay)>,
    lost: mpsc::UnboundedReceiver<Uuid>,
}

impl Post {
    pub(crate) fn new(connection: Connection) -> Self {
        let (messages, queue) = mpsc::unbounded_channel();
        let (loser, lost) = mpsc::unbounded_channel();
        tokio::spawn(deliver(connection, queue, loser));
        Self { messages, lost }
    }

    /// Never waits.
    pub(crate) fn send(&self, line: Uuid, relay: v1::Relay) {
        self.messages.send((line, relay)).ok();
    }

    /// A line that did not hear what was said; none when nothing can be said any more.
    pub(crate) async fn lost(&mut self) -> Option<Uuid> {
        self.lost.recv().await
    }
}

async fn deliver(
    mut connection: Connection,
    mut queue: mpsc::UnboundedReceiver<(Uuid, v1::Relay)>,
    lost: mpsc::UnboundedSender<Uuid>,
) {
    while let Some((line, relay)) = queue.recv().await {
        let heard: RedisResult<u64> = redis::cmd("PUBLISH")
            .arg(connection.ledger.channel(line))
            .arg(relay.encode_to_vec())
            .query_async(&mut connection.connection)
            .await;
        match heard {
            Ok(1..) => {}
            Ok(0) => {
                lost.send(line).ok();
            }
            // Everything that was said is in doubt; the end of the channel says so.
            Err(_) => return,
        }
    }
}

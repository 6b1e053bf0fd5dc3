//! Takes invitations from a queue, as many as there are free slots, and hands each to a handler. It decides nothing
//! about them: whether one still holds is the handler's question to the store, asked before the message is acked.

use std::num::NonZeroU16;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::connection::{Link, within};
use crate::topology::soft_error;
use crate::{Config, Error, Queue};

mod dead;
mod delivery;

use dead::DeadLetters;
pub use delivery::Delivery;

/// How long taken deliveries wait for a slot before they go back to the queue, where another worker can have them.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the handler could do with the claim. What it did afterwards is not the broker's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The store was asked and answered, whichever way; the message is done with.
    Asked,
    /// The store could not be asked. The message goes back, and nothing is taken until it can.
    Unasked,
}

/// Does the work of a queue.
pub trait Handler: Send + Sync + 'static {
    /// Asks for the claim, acks the delivery right after the answer, and does the work if the claim was granted. Holds
    /// its slot until it returns. A message that was not acked when it returns [`Claimed::Asked`], or panics, is
    /// acked then; it is made due again by the scheduler, never by the broker.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = Claimed> + Send;

    /// Whether claims can be asked again. Called after a [`Claimed::Unasked`], with growing pauses, until it is true.
    fn can_ask(&self) -> impl Future<Output = bool> + Send;
}

/// What is taken from one queue, and within which bounds.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The queue.
    pub queue: Queue,
    /// The slots; several intakes may share them. A delivery holds one from before its handler starts until after
    /// that ends.
    pub slots: Arc<Semaphore>,
    /// How many of the slots deliveries of this queue may hold, where it leaves some to others; several intakes may share it.
    pub bound: Option<Arc<Semaphore>>,
    /// How many deliveries the broker may send ahead of their acks: as many as there are slots.
    pub prefetch: NonZeroU16,
    /// Where handlers run; whoever shuts down waits for it.
    pub tasks: TaskTracker,
    /// Cancelled: nothing more is taken, what has not started goes back, what runs may end.
    pub shutdown: CancellationToken,
}

impl Intake {
    /// A slot for one delivery. Whoever waits for its bound waits for no slot yet.
    async fn slot(&self) -> Result<Slot, AcquireError> {
        let within = match &self.bound {
            Some(bound) => Some(Arc::clone(bound).acquire_owned().await?),
            None => None,
        };
        Ok(Slot { _within: within, _slot: Arc::clone(&self.slots).acquire_owned().await? })
    }
}

/// Held while a delivery is worked on.
struct Slot {
    _within: Option<OwnedSemaphorePermit>,
    _slot: OwnedSemaphorePermit,
}

/// A connection that consumes, shared by the queues of a process. It never declares a work queue: one that is
/// missing must be found missing by the publisher.
pub struct Consumer {
    link: Link,
    dead: DeadLetters,
    timeout: Duration,
}

enum Ended {
    Shutdown,
    Unasked,
    NoSlot,
}

impl Consumer {
    /// Makes a consumer that connects when it is first used. `name` is shown in `RabbitMQ`'s list of connections.
    /// Fails only when the address cannot be read.
    pub fn new(config: &Config, name: &str) -> Result<Self, Error> {
        Ok(Self {
            link: Link::new(config, name)?,
            dead: DeadLetters::new(config, name)?,
            timeout: config.confirm_timeout(),
        })
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.link.standing().is_some()
    }

    /// Takes deliveries until the shutdown, through every loss of the connection. Returns when nothing more will be
    /// started; handlers may still run on the tracker.
    pub async fn consume<H: Handler>(&self, intake: Intake, handler: Arc<H>) {
        let shutdown = &intake.shutdown;
        let mut backoff = Backoff::default();
        while shutdown.run_until_cancelled(backoff.wait()).await.is_some() {
            match self.session(&intake, &handler, &mut backoff).await {
                Ok(Ended::Shutdown) => return,
                Ok(Ended::Unasked) => {
                    tracing::warn!(queue = %intake.queue, "claims cannot be asked: nothing is taken until they can");
                    if shutdown.run_until_cancelled(wait_until_askable(&*handler)).await.is_some() {
                        tracing::info!(queue = %intake.queue, "claims can be asked again");
                    }
                }
                // The permit is only waited for: it is free again before the next delivery asks for it.
                Ok(Ended::NoSlot) => drop(shutdown.run_until_cancelled(intake.slot()).await),
                Err(error) => {
                    if error.needs_a_person() {
                        tracing::error!(queue = %intake.queue, "cannot consume: {error}");
                    } else {
                        tracing::warn!(queue = %intake.queue, "cannot consume, trying again: {error}");
                    }
                    backoff.failed();
                }
            }
        }
    }

    async fn session<H: Handler>(
        &self,
        intake: &Intake,
        handler: &Arc<H>,
        backoff: &mut Backoff,
    ) -> Result<Ended, Error> {
        let Some(subscribed) = intake.shutdown.run_until_cancelled(self.subscribe(intake)).await else {
            return Ok(Ended::Shutdown);
        };
        let (channel, deliveries) = subscribed?;
        let ended = self.take(intake, handler, backoff, &channel, deliveries).await;
        if ended.is_err() {
            // Handlers at work keep the channel, and with it what nobody will take from it any more.
            let _closed = self.close(&channel).await;
        }
        ended
    }

    async fn take<H: Handler>(
        &self,
        intake: &Intake,
        handler: &Arc<H>,
        backoff: &mut Backoff,
        channel: &Channel,
        mut deliveries: lapin::Consumer,
    ) -> Result<Ended, Error> {
        let unasked = CancellationToken::new();
        loop {
            let message = tokio::select! {
                biased;
                () = intake.shutdown.cancelled() => {
                    self.give_back(channel, deliveries, None).await?;
                    return Ok(Ended::Shutdown);
                }
                () = unasked.cancelled() => return self.close(channel).await,
                next = deliveries.next() => next.ok_or_else(|| Error::Lost { cause: "the queue is gone".to_owned() })??,
            };
            if !message.acker.usable() {
                // It was on its way when the channel ended, and will be delivered again.
                continue;
            }
            let invitation = match delivery::decode(intake.queue, &message) {
                Ok(invitation) => invitation,
                Err(reason) => {
                    tracing::error!(queue = %intake.queue, "kept a message in {}: {reason}", Queue::Dead);
                    within(self.timeout, self.dead.keep(intake.queue, &message, &reason)).await?;
                    message.acker.ack(BasicAckOptions::default()).await?;
                    backoff.succeeded();
                    continue;
                }
            };
            let permit = tokio::select! {
                biased;
                () = intake.shutdown.cancelled() => None,
                () = unasked.cancelled() => return self.close(channel).await,
                permit = tokio::time::timeout(PATIENCE, intake.slot()) => permit.ok().and_then(Result::ok),
            };
            let Some(permit) = permit else {
                self.give_back(channel, deliveries, Some(message)).await?;
                return Ok(if intake.shutdown.is_cancelled() { Ended::Shutdown } else { Ended::NoSlot });
            };
            backoff.succeeded();
            let delivery = Delivery::new(invitation, message, channel.clone());
            intake.tasks.spawn(run(Arc::clone(handler), delivery, permit, unasked.clone()));
        }
    }

    async fn subscribe(&self, intake: &Intake) -> Result<(Channel, lapin::Consumer), Error> {
        let connection = self.link.connection().await?;
        let subscribed = within(self.timeout, async {
            let channel = connection.create_channel().await?;
            channel.basic_qos(intake.prefetch.get(), BasicQosOptions::default()).await?;
            let queue = intake.queue;
            let deliveries = channel
                .basic_consume(
                    queue.as_str().into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .map_err(|error| match soft_error(&error) {
                    Some((AMQPSoftError::NOTFOUND, answer)) if answer.contains("no queue") => {
                        Error::Missing { queue }
                    }
                    _ => error.into(),
                })?;
            Ok((channel, deliveries))
        })
        .await;
        if matches!(subscribed, Err(Error::Lost { .. })) {
            self.link.discard(&Arc::downgrade(&connection));
        }
        subscribed
    }

    /// Stops the deliveries and puts back those that no handler has. Deliveries that handlers still have can be acked:
    /// they keep the channel.
    async fn give_back(
        &self,
        channel: &Channel,
        mut deliveries: lapin::Consumer,
        taken: Option<Message>,
    ) -> Result<(), Error> {
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        within(self.timeout, async {
            channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default()).await?;
            if let Some(message) = taken {
                message.acker.nack(requeue).await?;
            }
            while let Some(message) = deliveries.next().await {
                message?.acker.nack(requeue).await?;
            }
            Ok(())
        })
        .await
    }

    /// Closes the channel: the broker takes back everything that was not acked, whoever has it.
    async fn close(&self, channel: &Channel) -> Result<Ended, Error> {
        within(self.timeout, async { Ok(channel.close(200, "taking nothing".into()).await?) }).await?;
        Ok(Ended::Unasked)
    }
}

async fn run<H: Handler>(handler: Arc<H>, delivery: Delivery, permit: Slot, unasked: CancellationToken) {
    let acker = delivery.acker();
    match AssertUnwindSafe(handler.handle(delivery)).catch_unwind().await {
        Ok(Claimed::Asked) => acker.ack().await,
        Ok(Claimed::Unasked) => unasked.cancel(),
        Err(_) => {
            tracing::error!(
                "the handler of a delivery panicked; what it worked on becomes due again by itself"
            );
            acker.ack().await;
        }
    }
    drop(permit);
}

async fn wait_until_askable<H: Handler>(handler: &H) {
    let mut backoff = Backoff::default();
    while !handler.can_ask().await {
        backoff.failed();
        backoff.wait().await;
    }
}

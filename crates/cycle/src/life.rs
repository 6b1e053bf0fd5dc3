//! A process's working life: one session after the other, each taking work from queues until it is lost or the process
//! stops. Workers and the job service live the same way; what they do with a delivery is their own.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use broker::{Consumer, Handler, Intake, Queue};
use futures_util::future::{join, join_all};
use model::id::{OrganizationId, SessionId};
use store::Store;
use store::session::{self, Keeper, Slots, Times};
use throttle::{Session, Throttle};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Parts;

/// What a process that runs cycles or jobs works with.
#[derive(Clone)]
pub struct Means {
    /// What cycles and tests work with.
    pub parts: Parts,
    /// Where invitations come from.
    pub broker: broker::Config,
    /// Where leases come from.
    pub throttle: throttle::Config,
    /// The process's name, for people: host name and process id.
    pub process: String,
}

/// A way of life: whose deliveries are taken, and how many at once.
#[derive(Clone)]
pub struct Life {
    /// What runs: `worker` or `jobs`.
    pub role: &'static str,
    /// The queues that are taken from.
    pub queues: Vec<Queue>,
    /// Deliveries worked on at once, over all queues.
    pub slots: NonZeroU16,
    /// A queue that others leave some slots to, and how many.
    pub kept: Option<(Queue, u16)>,
    /// How many cycles the slots count as places for.
    pub places: Slots,
    /// How the session is kept alive.
    pub session: Times,
}

/// What work is done under.
#[derive(Clone)]
pub struct Under {
    /// The session that claims.
    pub session: SessionId,
    /// Where its leases come from.
    pub throttle: Throttle,
    /// Cancelled when the session is lost: stop at once.
    pub lost: CancellationToken,
    /// What is still said to mail servers at the end of leases whose work was dropped.
    pub partings: TaskTracker,
}

impl Under {
    /// Whether a claim was refused only because this session is dead: then its delivery belongs back into the queue.
    /// A process that was frozen may not know yet; this waits until it does, for until then it would take the
    /// delivery again.
    pub async fn is_dead(&self, store: &Store, organization: OrganizationId) -> bool {
        let asked =
            store.in_tenant(organization, async |tenant| session::is_alive(tenant, self.session).await).await;
        match asked {
            Ok(true) => false,
            Ok(false) => {
                self.lost.cancelled().await;
                true
            }
            Err(error) => {
                tracing::warn!("nobody can say whether the session lives: {error}");
                true
            }
        }
    }
}

/// Why a life cannot be led at all; everything else is waited for and tried again.
#[derive(Debug, thiserror::Error)]
pub enum Unlivable {
    /// The broker's address cannot be used.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// The coordinators' addresses cannot be used.
    #[error(transparent)]
    Throttle(#[from] throttle::ConfigError),
}

/// Lives until the shutdown. `beside` is what else is done under each session, until its token is cancelled.
pub async fn live<H: Handler, B: Future<Output = ()>>(
    life: Life,
    means: &Means,
    handler: impl Fn(Under) -> H,
    beside: impl Fn(Under, CancellationToken) -> B,
    shutdown: CancellationToken,
) -> Result<(), Unlivable> {
    while !shutdown.is_cancelled() {
        let begun = Keeper::start(&means.parts.store, &means.process, life.places, life.session);
        match shutdown.run_until_cancelled(begun).await {
            None => break,
            Some(Ok(keeper)) => session(&life, means, keeper, &handler, &beside, &shutdown).await?,
            Some(Err(error)) => {
                tracing::error!(role = life.role, "no session could be begun, trying again: {error}");
                shutdown.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
            }
        }
    }
    Ok(())
}

/// One session: takes work until the shutdown or until the session is lost, and waits for what runs to end.
async fn session<H: Handler, B: Future<Output = ()>>(
    life: &Life,
    means: &Means,
    keeper: Keeper,
    handler: &impl Fn(Under) -> H,
    beside: &impl Fn(Under, CancellationToken) -> B,
    shutdown: &CancellationToken,
) -> Result<(), Unlivable> {
    let session = Session { id: keeper.id(), process: means.process.clone() };
    let throttle = Throttle::connect(&means.throttle, session)?;
    let lost = keeper.lost();
    let partings = TaskTracker::new();
    let (session, parting) = (keeper.id(), partings.clone());
    let under = Under { session, throttle: throttle.clone(), lost: lost.clone(), partings: parting };
    let handler = Arc::new(handler(under.clone()));
    let consumer = Consumer::new(&means.broker, &format!("lockstep {}", life.role))?;
    let (slots, tasks) = (Arc::new(Semaphore::new(life.slots.get().into())), TaskTracker::new());
    let kept = life
        .kept
        .map(|(queue, kept)| (queue, Arc::new(Semaphore::new(life.slots.get().saturating_sub(kept).into()))));
    // A lost session stops taking, as a shutdown does; the next one begins with new connections.
    let taking = shutdown.child_token();
    let consuming = life.queues.iter().map(|queue| {
        let intake = Intake {
            queue: *queue,
            slots: Arc::clone(&slots),
            bound: kept.as_ref().filter(|(by, _)| by != queue).map(|(_, bound)| Arc::clone(bound)),
            prefetch: life.slots,
            tasks: tasks.clone(),
            shutdown: taking.clone(),
        };
        consumer.consume(intake, Arc::clone(&handler))
    });
    tracing::info!(role = life.role, session.id = %keeper.id(), slots = life.slots.get(), "taking work");
    let consuming = join_all(consuming);
    let consuming = join(consuming, beside(under, taking.clone()));
    tokio::pin!(consuming);
    tokio::select! {
        _ = &mut consuming => {}
        () = lost.cancelled() => {
            taking.cancel();
            consuming.await;
        }
    }
    tasks.close();
    tasks.wait().await;
    partings.close();
    partings.wait().await;
    throttle.goodbye().await;
    keeper.end().await;
    Ok(())
}

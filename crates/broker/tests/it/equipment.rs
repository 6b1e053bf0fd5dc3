//! What the tests share: the node, a configuration for a virtual host of their own, and handlers that count.

use std::collections::HashMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{
    Claimed, Config, Consumer, CycleInvitation, Delivery, Handler, Intake, Invitation, Publication, Queue,
};
use model::clock::new_id;
use model::workload::Workload;
use servers::RabbitMq;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The node that tests share which neither end it nor frighten it.
pub(crate) async fn shared() -> &'static RabbitMq {
    static NODE: OnceCell<RabbitMq> = OnceCell::const_new();
    NODE.get_or_init(RabbitMq::start).await
}

/// A virtual host that no other test knows.
pub(crate) async fn virtual_host(node: &RabbitMq) -> String {
    let name = new_id::<uuid::Uuid>().to_string();
    node.create_vhost(&name).await;
    name
}

pub(crate) async fn config() -> Config {
    let node = shared().await;
    config_of(&node.amqp_uri(&virtual_host(node).await))
}

pub(crate) fn config_of(url: &str) -> Config {
    Config {
        url: url.to_owned().into(),
        ca_file: String::new(),
        publish_window: NonZeroU32::new(1000).unwrap(),
        message_ttl_seconds: NonZeroU32::new(330).unwrap(),
        confirm_timeout_seconds: NonZeroU32::new(30).unwrap(),
        heartbeat_seconds: NonZeroU16::new(10).unwrap(),
    }
}

/// Invitations to cycles of as many mailboxes, with the claim numbers 0, 1, 2….
pub(crate) fn cycles(workload: Workload, count: usize) -> Vec<Publication> {
    let organization = new_id();
    (0..count)
        .map(|claim| Publication {
            invitation: Invitation::Cycle(CycleInvitation {
                organization,
                mailbox: new_id(),
                workload,
                claim: i64::try_from(claim).unwrap(),
            }),
            trace: None,
        })
        .collect()
}

/// Waits for something that must become true.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(90), waiting).await.is_ok(), "never came true: {what}");
}

/// A bare connection, to do what Lockstep never does.
pub(crate) async fn bare(config: &Config) -> lapin::Connection {
    use model::secret::ExposeSecret as _;
    let url = config.url.expose_secret();
    lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap()
}

/// A consumer at work with slots of its own.
pub(crate) struct Worker {
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    consumer: Arc<Consumer>,
    prefetch: u16,
}

impl Worker {
    pub(crate) fn new(config: &Config, slots: u16) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots.into())),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            consumer: Arc::new(Consumer::new(config, "test worker").unwrap()),
            prefetch: slots,
        }
    }

    pub(crate) fn consume<H: Handler>(&self, queue: Queue, handler: &Arc<H>) -> JoinHandle<()> {
        self.consume_within(None, queue, handler)
    }

    /// The same for a queue that leaves some of the slots to others.
    pub(crate) fn consume_within<H: Handler>(
        &self,
        bound: Option<Arc<Semaphore>>,
        queue: Queue,
        handler: &Arc<H>,
    ) -> JoinHandle<()> {
        let intake = Intake {
            queue,
            slots: Arc::clone(&self.slots),
            bound,
            prefetch: NonZeroU16::new(self.prefetch).unwrap(),
            tasks: self.tasks.clone(),
            shutdown: self.shutdown.clone(),
        };
        let (consumer, handler) = (Arc::clone(&self.consumer), Arc::clone(handler));
        tokio::spawn(async move { consumer.consume(intake, handler).await })
    }
}

/// Counts what it is handed, can be held at work, and can be told that claims cannot be asked.
pub(crate) struct Counting {
    pub(crate) handled: Mutex<HashMap<Invitation, usize>>,
    pub(crate) deliveries: Mutex<Vec<(Invitation, Option<broker::TraceContext>)>>,
    pub(crate) at_work: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
    /// A permit lets one handler end its work.
    pub(crate) gate: Semaphore,
    pub(crate) askable: AtomicBool,
    pub(crate) refused: AtomicUsize,
    pub(crate) panics_on: Mutex<Option<Invitation>>,
}

impl Counting {
    /// Handlers that end as soon as they have claimed.
    pub(crate) fn new() -> Arc<Self> {
        Self::gated(Semaphore::MAX_PERMITS)
    }

    /// Handlers of which only so many may end.
    pub(crate) fn gated(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            handled: Mutex::default(),
            deliveries: Mutex::default(),
            at_work: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
            askable: AtomicBool::new(true),
            refused: AtomicUsize::new(0),
            panics_on: Mutex::default(),
        })
    }

    pub(crate) fn started(&self) -> usize {
        self.handled.lock().unwrap().values().sum()
    }

    pub(crate) fn distinct(&self) -> usize {
        self.handled.lock().unwrap().len()
    }
}

impl Handler for Counting {
    async fn handle(&self, delivery: Delivery) -> Claimed {
        if !self.askable.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Claimed::Unasked;
        }
        let at_work = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_work, Ordering::SeqCst);
        *self.handled.lock().unwrap().entry(delivery.invitation).or_default() += 1;
        self.deliveries.lock().unwrap().push((delivery.invitation, delivery.trace.clone()));
        let panics = *self.panics_on.lock().unwrap() == Some(delivery.invitation);
        if panics {
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            panic!("the handler was told to panic");
        }
        delivery.ack().await;
        self.gate.acquire().await.unwrap().forget();
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        Claimed::Asked
    }

    async fn can_ask(&self) -> bool {
        self.askable.load(Ordering::SeqCst)
    }
}

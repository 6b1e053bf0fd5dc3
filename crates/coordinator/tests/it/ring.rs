//! What every test starts: a Redis, coordinators on free ports, and workers that ask them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coordinator::Config;
use model::clock;
use model::secret::Secret;
use model::workload::ServiceClass;
use servers::Redis;
use throttle::{
    AcquireRequest, ClassShare, Denied, Holder, Lease, Limit, Served, Session, Shares, Throttle, v1,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const TOKEN: &str = "a-token-for-tests";

/// One installation: its ledger and its coordinators.
pub(crate) struct Ring {
    pub(crate) redis: Redis,
    pub(crate) lease: Duration,
    pub(crate) quiet: Duration,
}

/// One running coordinator.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), coordinator::Error>>,
}

impl Ring {
    /// With a Redis that forgets everything when it ends, and a ledger that was begun.
    pub(crate) async fn with_lease(lease: Duration) -> Self {
        Self::on(Redis::start().await, lease).await
    }

    pub(crate) async fn on(redis: Redis, lease: Duration) -> Self {
        let ring = Self { redis, lease, quiet: lease * 2 };
        assert!(ring.begin().await, "a new Redis has no ledger");
        ring
    }

    /// Begins the ledger, as the migration of a new database does.
    pub(crate) async fn begin(&self) -> bool {
        let Config { redis_url, key_prefix, .. } = self.config();
        coordinator::begin_ledger(&redis_url, &key_prefix, Duration::from_secs(5)).await.unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: Secret::from(TOKEN),
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            redis_url: Secret::from(self.redis.url()),
            key_prefix: "lockstep".to_owned(),
            redis_timeout_millis: 2_000,
            lease_millis: millis(self.lease),
            renew_millis: millis(self.lease / 3),
            retry_seconds: 30,
            beat_millis: 100,
            quiet_after_loss_millis: millis(self.quiet),
            batch: 128,
        }
    }

    pub(crate) async fn coordinator(&self) -> Running {
        self.coordinator_with(self.config()).await
    }

    pub(crate) async fn coordinator_with(&self, config: Config) -> Running {
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(coordinator::serve(config, listener, shutdown.clone()));
        Running { address, shutdown, task }
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(self.redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }

    /// Deletes everything in Redis.
    pub(crate) async fn flush(&self) {
        self.ask::<()>(&redis::cmd("FLUSHALL")).await;
    }

    /// Makes the state that a Redis without a log comes back with.
    pub(crate) async fn save(&self) {
        self.ask::<()>(&redis::cmd("SAVE")).await;
    }

    /// The leases that are written down.
    pub(crate) async fn written(&self) -> Vec<String> {
        self.ask(redis::cmd("HKEYS").arg("{lockstep}:lease")).await
    }

    /// The rates of which something is written down.
    pub(crate) async fn rates(&self) -> Vec<String> {
        self.ask(redis::cmd("HKEYS").arg("{lockstep}:rate")).await
    }

    pub(crate) async fn record(&self, lease: uuid::Uuid) -> String {
        self.ask(redis::cmd("HGET").arg("{lockstep}:lease").arg(lease.to_string())).await
    }
}

/// A coordinator in a runtime of its own, that can die as a process does: without a word.
pub(crate) struct Crashing {
    pub(crate) url: String,
    runtime: Option<Runtime>,
}

impl Crashing {
    pub(crate) fn start(ring: &Ring) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_on(ring, listener)
    }

    fn start_on(ring: &Ring, listener: std::net::TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let config = ring.config();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            coordinator::serve(config, listener, CancellationToken::new()).await
        });
        Self { url, runtime: Some(runtime) }
    }

    /// Dies as in [`Crashing::crash`]; another listens at its address.
    pub(crate) async fn crash_and_start_again(&mut self, ring: &Ring) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        let address: SocketAddr = self.url.trim_start_matches("http://").parse().unwrap();
        let listener = loop {
            match std::net::TcpListener::bind(address) {
                Ok(listener) => break listener,
                // The system still closes the old one.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        *self = Self::start_on(ring, listener);
    }

    /// Everything stops where it is; the connections are closed by nobody but the system.
    pub(crate) fn crash(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Crashing {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Running {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub(crate) fn worker(coordinators: &[&Running]) -> Throttle {
    let session = Session { id: clock::new_id(), process: "test".to_owned() };
    Throttle::connect(&worker_config(coordinators), session).unwrap()
}

pub(crate) fn worker_at(url: &str) -> Throttle {
    worker_at_any(&[url.to_owned()])
}

pub(crate) fn worker_at_any(urls: &[String]) -> Throttle {
    let session = Session { id: clock::new_id(), process: "test".to_owned() };
    Throttle::connect(&throttle::Config { urls: urls.to_vec(), ..worker_config(&[]) }, session).unwrap()
}

pub(crate) fn worker_config(coordinators: &[&Running]) -> throttle::Config {
    throttle::Config {
        urls: coordinators.iter().map(|running| running.url()).collect(),
        token: Secret::from(TOKEN),
        ca_file: String::new(),
        wait_seconds: 20,
        away_snooze_seconds: 30,
        shares: shares(),
    }
}

pub(crate) fn shares() -> Shares {
    let class = |share_percent| ClassShare { share_percent, ceiling_percent: 100 };
    Shares {
        incoming: class(40),
        outgoing: class(20),
        calendar: class(20),
        jobs: class(10),
        watch: class(10),
    }
}

/// A limit that serves every class by the default shares.
pub(crate) fn limit(key: &str, capacity: u32) -> Limit {
    Limit {
        key: key.to_owned(),
        capacity,
        version: 0,
        served: shares().served(ServiceClass::ALL),
        in_doubt: Duration::from_secs(600),
        spare_for_watch: false,
    }
}

/// A limit with its own shares and ceilings.
pub(crate) fn limit_of(key: &str, capacity: u32, served: &[(ServiceClass, u32, u32)]) -> Limit {
    let served = served
        .iter()
        .map(|&(class, share, ceiling_percent)| Served { class, share, ceiling_percent })
        .collect();
    Limit { served, ..limit(key, capacity) }
}

pub(crate) fn request(class: ServiceClass, limits: Vec<Limit>, wait: Duration) -> AcquireRequest {
    AcquireRequest { class, limits, wait: Some(wait), holder: Holder::default() }
}

pub(crate) async fn take(throttle: &Throttle, limit: &Limit) -> Lease {
    acquire(throttle, ServiceClass::Incoming, limit, Duration::from_secs(20)).await.unwrap()
}

pub(crate) async fn acquire(
    throttle: &Throttle,
    class: ServiceClass,
    limit: &Limit,
    wait: Duration,
) -> Result<Lease, Denied> {
    throttle.acquire(request(class, vec![limit.clone()], wait)).await
}

/// Counts what is held at once, the way a mail server would.
#[derive(Clone, Default)]
pub(crate) struct Server {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn open(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

pub(crate) async fn status_client(
    running: &Running,
) -> v1::leases_client::LeasesClient<
    tonic::service::interceptor::InterceptedService<
        Channel,
        impl FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Clone + use<>,
    >,
> {
    client_of(&running.url()).await
}

pub(crate) async fn client_of(
    url: &str,
) -> v1::leases_client::LeasesClient<
    tonic::service::interceptor::InterceptedService<
        Channel,
        impl FnMut(tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> + Clone + use<>,
    >,
> {
    let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    v1::leases_client::LeasesClient::with_interceptor(channel, |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        Ok(request)
    })
}

/// One limit as the coordinator shows it; none when nobody holds it or waits for it.
pub(crate) async fn seen(running: &Running, key: &str) -> Option<v1::LimitStatus> {
    let reply = status(running).await;
    reply.limits.into_iter().find(|limit| limit.key == key)
}

pub(crate) async fn status(running: &Running) -> v1::StatusReply {
    status_client(running).await.status(v1::StatusRequest::default()).await.unwrap().into_inner()
}

/// Looks until it is so; a test that never sees it fails here.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let patience = Duration::from_secs(30);
    let looking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, looking).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// Waits until so many requests stand in the queue of a limit.
pub(crate) async fn until_waiting(running: &Running, key: &str, count: u32) {
    until(&format!("{count} waiting at {key}"), || async {
        seen(running, key).await.is_some_and(|limit| limit.waiting == count)
    })
    .await;
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

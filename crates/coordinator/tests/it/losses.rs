//! Redis loses what it was told while coordinators come, go or are cut off from it: whoever cannot know all that was
//! granted grants nothing until it has ended.

use std::time::{Duration, Instant};

use coordinator::Config;
use model::secret::Secret;
use model::workload::ServiceClass;
use servers::{CountingProxy, Redis};
use throttle::{Denied, Limit, Throttle};

use crate::deaths::connect;
use crate::ring::{
    Crashing, Ring, Running, Server, acquire, limit, seen, status, take, until, worker, worker_at,
};

/// A coordinator that can be cut off from Redis.
struct Apart {
    redis: CountingProxy,
    coordinator: Running,
}

impl Apart {
    async fn start(ring: &Ring) -> Self {
        let redis = CountingProxy::start(format!("127.0.0.1:{}", ring.redis.port)).await;
        let redis_url = Secret::from(format!("redis://127.0.0.1:{}/0", redis.port()));
        let coordinator = ring.coordinator_with(Config { redis_url, ..ring.config() }).await;
        Self { redis, coordinator }
    }

    /// It hears nothing of Redis, and Redis sees its lines end.
    fn cut_off(&self) {
        self.redis.refuse(true);
        self.redis.cut_all();
    }

    fn come_back(&self) {
        self.redis.refuse(false);
    }
}

/// Asks until it is granted. Until then it may only hear that the ledger is not to be trusted yet.
async fn until_granted(throttle: &Throttle, limit: &Limit) {
    until("it is granted", || async {
        match acquire(throttle, ServiceClass::Incoming, limit, Duration::ZERO).await {
            Ok(_) => true,
            Err(denied) => {
                assert!(matches!(denied, Denied::Away { .. } | Denied::NoCapacity { .. }), "{denied}");
                false
            }
        }
    })
    .await;
}

/// Short lives, and a quiet time that is longer than any of them.
async fn short_lived() -> Ring {
    Ring { quiet: Duration::from_secs(3), ..Ring::with_lease(Duration::from_millis(1_500)).await }
}

#[tokio::test]
async fn a_coordinator_that_starts_as_redis_is_flushed_is_quiet_when_nobody_puts_it_back() {
    let (ring, server, limit) = (short_lived().await, Server::default(), limit("profile/p", 1));
    let one = Apart::start(&ring).await;
    let lease = take(&worker(&[&one.coordinator]), &limit).await;
    let closed = connect(&server, &lease);
    one.cut_off();
    let lost = Instant::now();
    ring.flush().await;
    let two = ring.coordinator().await;
    until_granted(&worker(&[&two]), &limit).await;
    server.open();
    assert!(lost.elapsed() >= ring.quiet, "granted too early");
    closed.await.unwrap();
    assert_eq!(server.most(), 1);
}

#[tokio::test]
async fn a_coordinator_that_starts_as_redis_is_flushed_leaves_it_to_the_one_that_remembers() {
    let (ring, limit) = (Ring::with_lease(Duration::from_secs(3)).await, limit("profile/p", 1));
    let one = ring.coordinator().await;
    let lease = take(&worker(&[&one]), &limit).await;
    ring.flush().await;
    let two = ring.coordinator().await;
    let throttle = worker(&[&two]);
    until("the slot is known to be taken", || async {
        let asked = acquire(&throttle, ServiceClass::Incoming, &limit, Duration::ZERO).await;
        matches!(asked.unwrap_err(), Denied::NoCapacity { .. })
    })
    .await;
    assert!(lease.check());
    assert_eq!(status(&two).await.quiet_for_ms, 0, "nothing was lost, so nobody waits");
}

#[tokio::test]
async fn a_ledger_is_begun_once_and_never_in_the_place_of_one_that_is_there() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    assert!(!ring.begin().await);
    let coordinator = ring.coordinator().await;
    let lease = take(&worker(&[&coordinator]), &limit("profile/p", 1)).await;
    assert!(!ring.begin().await);
    assert_eq!(ring.written().await, [lease.id().to_string()]);
    assert_eq!(status(&coordinator).await.quiet_for_ms, 0);
}

#[tokio::test]
async fn a_coordinator_that_comes_back_to_its_own_pen_in_an_old_snapshot_is_quiet() {
    let (ring, server, limit) = (short_lived().await, Server::default(), limit("profile/p", 1));
    let one = Apart::start(&ring).await;
    let here = worker(&[&one.coordinator]);
    take(&here, &limit).await.release().await;
    ring.save().await;
    // Another takes the pen while it is cut off, and grants; then that one dies, and Redis goes back.
    one.cut_off();
    let two = Crashing::start(&ring);
    let there = worker_at(&two.url);
    let lease = until_taken(&there, &limit).await;
    let closed = connect(&server, &lease);
    two.crash();
    ring.redis.kill().await;
    ring.redis.start_again().await;
    let lost = Instant::now();
    one.come_back();
    until_granted(&here, &limit).await;
    server.open();
    assert!(lost.elapsed() >= ring.quiet, "granted too early");
    closed.await.unwrap();
    assert_eq!(server.most(), 1);
}

async fn until_taken(throttle: &Throttle, limit: &Limit) -> throttle::Lease {
    for _ in 0..100 {
        if let Ok(lease) = acquire(throttle, ServiceClass::Incoming, limit, Duration::from_secs(5)).await {
            return lease;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the slot was never granted");
}

#[tokio::test]
async fn a_redis_that_keeps_a_log_may_be_away_for_long_and_nobody_is_quiet() {
    let ring = Ring::on(Redis::durable().await, Duration::from_secs(6)).await;
    let (coordinator, limit) = (ring.coordinator().await, limit("profile/p", 1));
    let throttle = worker(&[&coordinator]);
    let lease = take(&throttle, &limit).await;
    ring.redis.stop().await;
    // So long that another would have taken the pen, had Redis been there.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ring.redis.start_again().await;
    until("it is decided again", || async { seen(&coordinator, "profile/p").await.is_some() }).await;
    assert_eq!(status(&coordinator).await.quiet_for_ms, 0);
    assert!(lease.check());
    lease.release().await;
    take(&throttle, &limit).await.release().await;
}

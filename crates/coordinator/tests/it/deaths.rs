//! Processes that die, go silent or come back: slots return exactly when nobody can use them any more.

use std::time::Duration;

use model::workload::ServiceClass;
use servers::{CountingProxy, Redis};
use throttle::v1::{self, worker_message};
use throttle::{Denied, Lease, Limit};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::ring::{
    Crashing, Ring, Running, Server, acquire, client_of, limit, millis, seen, status, status_client, take,
    until, worker, worker_at, worker_at_any,
};

/// A worker without a client: it says what the test tells it, and nothing else.
struct Bare {
    outgoing: mpsc::UnboundedSender<v1::WorkerMessage>,
    incoming: tonic::Streaming<v1::CoordinatorMessage>,
}

impl Bare {
    async fn at(coordinator: &Running) -> Self {
        Self::at_url(&coordinator.url()).await
    }

    async fn at_url(url: &str) -> Self {
        let (outgoing, messages) = mpsc::unbounded_channel();
        let mut client = client_of(url).await;
        let hello = v1::Hello { session_id: "test".to_owned(), process: "bare".to_owned() };
        outgoing.send(message(worker_message::Message::Hello(hello))).unwrap();
        let incoming = client.hold(UnboundedReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { outgoing, incoming }
    }

    async fn acquire(&mut self, id: uuid::Uuid, key: &str, in_doubt: Duration, again: bool) -> v1::Granted {
        let served = v1::Served { class: v1::ServiceClass::Incoming.into(), share: 40, ceiling_percent: 100 };
        let limit = v1::Limit {
            key: key.to_owned(),
            capacity: 1,
            served: vec![served],
            in_doubt_ms: millis(in_doubt),
            ..v1::Limit::default()
        };
        let acquire = v1::Acquire {
            lease_id: id.to_string(),
            class: v1::ServiceClass::Incoming.into(),
            limits: vec![limit],
            wait_ms: 20_000,
            holder: None,
            again,
            rates: Vec::new(),
        };
        self.outgoing.send(message(worker_message::Message::Acquire(acquire))).unwrap();
        match self.incoming.message().await.unwrap().unwrap().message.unwrap() {
            v1::coordinator_message::Message::Granted(granted) => granted,
            other => panic!("not granted: {other:?}"),
        }
    }

    async fn renew(&mut self, id: uuid::Uuid) -> v1::Renewed {
        let renew = v1::Renew { renewal: 7, lease_ids: vec![id.to_string()] };
        self.outgoing.send(message(worker_message::Message::Renew(renew))).unwrap();
        match self.incoming.message().await.unwrap().unwrap().message.unwrap() {
            v1::coordinator_message::Message::Renewed(renewed) => renewed,
            other => panic!("not an answer to a renewal: {other:?}"),
        }
    }

    fn release(&self, id: uuid::Uuid) {
        let release = v1::Release { lease_ids: vec![id.to_string()], ..v1::Release::default() };
        self.outgoing.send(message(worker_message::Message::Release(release))).unwrap();
    }
}

fn message(message: worker_message::Message) -> v1::WorkerMessage {
    v1::WorkerMessage { message: Some(message) }
}

#[tokio::test]
async fn the_slots_of_a_dead_worker_come_back_with_the_end_of_its_lease_and_not_before() {
    let ring = Ring::with_lease(Duration::from_secs(1)).await;
    let coordinator = ring.coordinator().await;
    let mut dead = Bare::at(&coordinator).await;
    let asked = std::time::Instant::now();
    dead.acquire(model::clock::new_id(), "profile/p", Duration::from_secs(600), false).await;
    drop(dead);
    let throttle = worker(&[&coordinator]);
    take(&throttle, &limit("profile/p", 1)).await.release().await;
    assert!(asked.elapsed() >= ring.lease, "the dead worker's connection may have been open so long");
    assert_eq!(status(&coordinator).await.in_doubt.len(), 0);
}

#[tokio::test]
async fn the_slot_of_a_silent_worker_stays_in_doubt_until_it_says_closed() {
    let ring = Ring::with_lease(Duration::from_millis(600)).await;
    let coordinator = ring.coordinator().await;
    let mut silent = Bare::at(&coordinator).await;
    let id = model::clock::new_id();
    silent.acquire(id, "profile/p", Duration::from_secs(600), false).await;
    until("the slot is in doubt", || async { status(&coordinator).await.in_doubt.len() == 1 }).await;
    let shown = status(&coordinator).await;
    assert_eq!((shown.limits[0].in_use, shown.limits[0].in_doubt), (1, 1));
    assert!(shown.in_doubt[0].charged_for_ms > 500_000);
    let throttle = worker(&[&coordinator]);
    let limit = limit("profile/p", 1);
    assert!(acquire(&throttle, ServiceClass::Incoming, &limit, Duration::from_millis(300)).await.is_err());
    // The worker returns: what it held is lost, and only its word that the connection is closed frees the slot.
    assert_eq!(silent.renew(id).await.lost, [id.to_string()]);
    assert_eq!(seen(&coordinator, "profile/p").await.unwrap().in_use, 1);
    silent.release(id);
    take(&throttle, &limit).await.release().await;
    until("nothing is left", || async { status(&coordinator).await.limits.is_empty() }).await;
}

#[tokio::test]
async fn a_slot_whose_server_was_not_heard_stays_charged_until_it_is() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let (throttle, other) = (worker(&[&coordinator]), worker(&[&coordinator]));
    let limit = limit("profile/p", 1);
    let doubt = take(&throttle, &limit).await.leave_in_doubt().await;
    let shown = status(&coordinator).await;
    assert_eq!((shown.limits[0].in_use, shown.limits[0].in_doubt), (1, 1));
    assert!((590_000..=600_000).contains(&shown.in_doubt[0].charged_for_ms), "from now, not after the lease");
    let refused = acquire(&other, ServiceClass::Incoming, &limit, Duration::ZERO).await;
    assert!(matches!(refused, Err(Denied::NoCapacity { .. })), "{refused:?}");
    // The worker hears of the server after all.
    doubt.closed().await;
    take(&other, &limit).await.release().await;
    // A worker that ends in order leaves its doubts behind, and its time frees the slot.
    let short = Limit { in_doubt: Duration::from_secs(1), ..limit.clone() };
    take(&throttle, &short).await.leave_in_doubt().await;
    let begun = std::time::Instant::now();
    throttle.goodbye().await;
    take(&other, &limit).await.release().await;
    assert!(begun.elapsed() > Duration::from_millis(900), "the server may have counted it for so long");
}

#[tokio::test]
async fn a_doubt_that_no_coordinator_has_heard_of_is_said_before_its_worker_ends() {
    let ring = Ring::with_lease(Duration::from_secs(3)).await;
    let coordinator = ring.coordinator().await;
    let between = CountingProxy::start(coordinator.address).await;
    let throttle = worker_at(&format!("http://{}", between.address()));
    let lease = take(&throttle, &limit("profile/p", 1)).await;
    // The coordinator sees the stream end, so that by itself it would free the slot with the end of the lease.
    between.refuse(true);
    between.cut_all();
    let stream_ended = || async { ring.record(lease.id()).await.starts_with("1\te\t") };
    until("the end of the stream is seen", stream_ended).await;
    tokio::time::timeout(Duration::from_millis(50), lease.leave_in_doubt()).await.unwrap_err();
    let parting = tokio::spawn(throttle.goodbye());
    between.refuse(false);
    parting.await.unwrap();
    let doubt = || async { status(&coordinator).await.in_doubt.len() == 1 };
    until("the slot is in doubt", doubt).await;
}

#[tokio::test]
async fn a_slot_in_doubt_is_free_after_the_servers_idle_time_or_by_an_administrators_word() {
    let ring = Ring::with_lease(Duration::from_millis(300)).await;
    let coordinator = ring.coordinator().await;
    let mut silent = Bare::at(&coordinator).await;
    let asked = std::time::Instant::now();
    let in_doubt = Duration::from_millis(900);
    silent.acquire(model::clock::new_id(), "profile/short", in_doubt, false).await;
    let id = model::clock::new_id::<uuid::Uuid>();
    silent.acquire(id, "profile/long", Duration::from_secs(600), false).await;
    let throttle = worker(&[&coordinator]);
    take(&throttle, &limit("profile/short", 1)).await.release().await;
    assert!(asked.elapsed() >= ring.lease + in_doubt);
    let mut client = status_client(&coordinator).await;
    let free = || v1::FreeRequest { lease_id: id.to_string() };
    assert!(client.free(free()).await.unwrap().into_inner().freed);
    assert!(!client.free(free()).await.unwrap().into_inner().freed);
    take(&throttle, &limit("profile/long", 1)).await.release().await;
}

#[tokio::test]
async fn asking_again_under_the_same_id_over_another_coordinator_takes_no_second_slot() {
    let ring = Ring::with_lease(Duration::from_secs(2)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let id = model::clock::new_id();
    let mut first = Bare::at(&one).await;
    first.acquire(id, "profile/p", Duration::from_secs(600), false).await;
    let mut second = Bare::at(&two).await;
    second.acquire(id, "profile/p", Duration::from_secs(600), true).await;
    assert_eq!(seen(&one, "profile/p").await.unwrap().in_use, 1);
    // The first stream's end says nothing about a lease that lives on over the second.
    drop(first);
    for _ in 0..6 {
        tokio::time::sleep(ring.lease / 4).await;
        assert_eq!(second.renew(id).await.lease_ids, [id.to_string()]);
    }
    assert_eq!(seen(&one, "profile/p").await.unwrap().in_use, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_coordinator_takes_over_and_no_lease_is_lost() {
    let ring = Ring::with_lease(Duration::from_secs(3)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let limit = limit("profile/p", 2);
    let throttle = worker(&[&one, &two]);
    let other = worker(&[&two, &one]);
    let (held, elsewhere) = (take(&throttle, &limit).await, take(&other, &limit).await);
    let waiting = tokio::spawn({
        let (throttle, limit) = (throttle.clone(), limit.clone());
        async move { take(&throttle, &limit).await }
    });
    crate::ring::until_waiting(&two, "profile/p", 1).await;
    one.stop().await;
    let lost = tokio::time::timeout(ring.lease * 2, held.lost()).await;
    assert!(lost.is_err() && held.check() && elsewhere.check());
    elsewhere.release().await;
    let granted = waiting.await.unwrap();
    assert_eq!(seen(&two, "profile/p").await.unwrap().in_use, 2);
    drop((held, granted));
    until("everything is free", || async { seen(&two, "profile/p").await.is_none() }).await;
}

#[tokio::test]
async fn without_a_coordinator_a_request_snoozes_and_a_lease_ends_at_five_sixths() {
    let ring = Ring::with_lease(Duration::from_secs(6)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit("profile/p", 5);
    let lease = take(&throttle, &limit).await;
    let granted = std::time::Instant::now();
    coordinator.stop().await;
    let denied = acquire(&throttle, ServiceClass::Incoming, &limit, Duration::from_millis(200)).await;
    assert_eq!(denied.unwrap_err(), Denied::Away { retry_after: Duration::from_secs(30) });
    assert!(lease.check(), "what was granted holds until its time");
    lease.lost().await;
    assert!(!lease.check());
    assert!(granted.elapsed() < ring.lease, "it ends here before it ends in the ledger");
    // The slot is still charged to the worker's lease: nobody saw its stream end but the coordinator that stopped.
    let next = ring.coordinator().await;
    assert_eq!(seen(&next, "profile/p").await.unwrap().in_use, 1);
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_granted_and_releases_are_not_forgotten() {
    let ring = Ring::on(Redis::durable().await, Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit("profile/p", 1);
    let lease = take(&throttle, &limit).await;
    ring.redis.stop().await;
    let denied = acquire(&throttle, ServiceClass::Incoming, &limit, Duration::from_secs(20)).await;
    assert!(matches!(denied, Err(Denied::Away { .. })), "{denied:?}");
    drop(lease);
    ring.redis.start_again().await;
    until("it may be asked again", || async {
        acquire(&throttle, ServiceClass::Incoming, &limit, Duration::ZERO).await.is_ok()
    })
    .await;
}

/// Opens the connection of a lease, and closes it when the lease is lost.
pub(crate) fn connect(server: &Server, lease: &Lease) -> tokio::task::JoinHandle<()> {
    server.open();
    let (lost, server) = (lease.lost(), server.clone());
    tokio::spawn(async move {
        lost.await;
        server.close();
    })
}

#[tokio::test]
async fn when_redis_loses_its_data_a_coordinator_that_lives_puts_everything_back() {
    let ring = Ring::with_lease(Duration::from_secs(2)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let (here, there) = (worker(&[&one]), worker(&[&two]));
    let limit = limit("profile/p", 1);
    let lease = take(&here, &limit).await;
    for loss in ["restart", "flush", "flush"] {
        if loss == "restart" {
            ring.redis.kill().await;
            ring.redis.start_again().await;
        } else {
            ring.flush().await;
        }
        let written = || async { ring.written().await == [lease.id().to_string()] };
        until("the lease is written down again", written).await;
        until("requests are decided again", || async {
            let asked = acquire(&there, ServiceClass::Incoming, &limit, Duration::ZERO).await;
            matches!(asked, Err(Denied::NoCapacity { .. }))
        })
        .await;
        assert!(lease.check(), "nobody lost a lease after a {loss}");
    }
    lease.release().await;
    take(&there, &limit).await.release().await;
}

/// What may happen to the data of Redis when nobody is left who remembers it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// All of it goes, and a coordinator is there that knows only that there was some.
    Flushed,
    /// All of it goes, and the next coordinator knows nothing at all.
    Emptied,
    /// It goes back to an older state, and the next coordinator knows nothing at all.
    WentBack,
}

#[tokio::test]
async fn when_nobody_remembers_what_redis_lost_nothing_is_granted_until_every_old_lease_has_ended() {
    for loss in [Loss::Flushed, Loss::Emptied, Loss::WentBack] {
        let mut ring = Ring::with_lease(Duration::from_millis(1_200)).await;
        ring.quiet = Duration::from_secs(3);
        let one = Crashing::start(&ring);
        let throttle = worker_at(&one.url);
        // It decides; the other one, where there is one, has seen that.
        take(&throttle, &limit("profile/other", 1)).await.release().await;
        let two = if loss == Loss::Flushed { Some(ring.coordinator().await) } else { None };
        if let Some(two) = &two {
            status(two).await;
        }
        if loss == Loss::WentBack {
            ring.save().await;
        }
        let (limit, server) = (limit("profile/p", 1), Server::default());
        let lease = take(&throttle, &limit).await;
        let closed = connect(&server, &lease);
        one.crash();
        let lost = std::time::Instant::now();
        let survivor = if let Some(two) = two {
            ring.flush().await;
            two
        } else {
            ring.redis.kill().await;
            ring.redis.start_again().await;
            ring.coordinator().await
        };
        let throttle = worker(&[&survivor]);
        until("it may be asked again", || async {
            match acquire(&throttle, ServiceClass::Incoming, &limit, Duration::ZERO).await {
                Ok(_) => true,
                Err(denied) => {
                    assert!(matches!(denied, Denied::Away { .. }), "{denied}");
                    false
                }
            }
        })
        .await;
        server.open();
        assert!(lost.elapsed() >= ring.quiet, "granted too early: {loss:?}");
        closed.await.unwrap();
        assert_eq!(server.most(), 1, "{loss:?}");
    }
}

#[tokio::test]
async fn what_a_dead_coordinator_granted_stays_charged_under_the_next() {
    let ring = Ring::with_lease(Duration::from_secs(4)).await;
    let one = Crashing::start(&ring);
    take(&worker_at(&one.url), &limit("profile/p", 2)).await.release().await;
    let two = ring.coordinator().await;
    let throttle = worker_at_any(&[one.url.clone(), two.url()]);
    let held = take(&throttle, &limit("profile/p", 2)).await;
    let mut silent = Bare::at_url(&one.url).await;
    silent.acquire(model::clock::new_id(), "profile/q", Duration::from_secs(600), false).await;
    one.crash();
    let begun = std::time::Instant::now();
    let (p, q) = (limit("profile/p", 2), limit("profile/q", 1));
    let second = take(&throttle, &p).await;
    assert!(begun.elapsed() < ring.lease, "another took over long before the lease ended");
    let other = worker(&[&two]);
    let refused = acquire(&other, ServiceClass::Incoming, &p, Duration::ZERO).await;
    assert!(matches!(refused, Err(Denied::NoCapacity { .. })), "the lease is known to the next");
    let lost = tokio::time::timeout(ring.lease * 2, held.lost()).await;
    assert!(lost.is_err() && held.check(), "who comes back keeps what he had");
    // Nobody saw the end of the silent one's stream, so its slot is in doubt.
    let refused = acquire(&other, ServiceClass::Incoming, &q, Duration::ZERO).await;
    assert!(matches!(refused, Err(Denied::NoCapacity { .. })));
    assert_eq!(status(&two).await.in_doubt.len(), 1);
    drop((held, second));
}

#[tokio::test]
async fn neither_clock_of_redis_nor_of_a_process_decides_when_a_lease_ends() {
    // There is nothing to set back or forward: no record of the ledger holds a time.
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let lease = take(&worker(&[&coordinator]), &limit("profile/p", 1)).await;
    let record = ring.record(lease.id()).await;
    let fields: Vec<_> = record.split('\t').collect();
    let expected = ["1", "l", "600000", "//", "profile/p", "0"];
    assert_eq!(fields[..6], expected, "class, state, time in doubt, holder, key, version");
    assert_eq!(fields.len(), 7, "and what the limit allows");
}

#[tokio::test]
async fn who_waited_at_a_coordinator_that_died_with_his_worker_is_forgotten() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let limit = limit("profile/p", 1);
    let (holder, waiter) = (worker(&[&two]), worker(&[&one]));
    let held = take(&holder, &limit).await;
    let wait = Duration::from_secs(1);
    let waiting = tokio::spawn({
        let limit = limit.clone();
        async move { acquire(&waiter, ServiceClass::Incoming, &limit, wait).await }
    });
    crate::ring::until_waiting(&two, "profile/p", 1).await;
    one.stop().await;
    assert!(matches!(waiting.await.unwrap(), Err(Denied::Away { .. })));
    crate::ring::until_waiting(&two, "profile/p", 0).await;
    held.release().await;
}

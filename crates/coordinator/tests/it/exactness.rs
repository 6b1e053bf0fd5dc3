//! Never one connection too many, however many ask, and everyone is served in the end.

use std::time::Duration;

use model::workload::ServiceClass;
use throttle::Denied;

use crate::ring::{Ring, Server, acquire, limit, request, seen, take, until, worker};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_coordinators_and_four_workers_never_pass_a_limit_of_three_and_serve_everyone() {
    let ring = Ring::with_lease(Duration::from_secs(3)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let server = Server::default();
    let mut cycles = Vec::new();
    for coordinator in [&one, &two, &one, &two] {
        let throttle = worker(&[coordinator]);
        for _ in 0..100 {
            let (throttle, server) = (throttle.clone(), server.clone());
            cycles.push(tokio::spawn(async move {
                let (limit, patience) = (limit("profile/p", 3), Duration::from_secs(60));
                let lease = acquire(&throttle, ServiceClass::Incoming, &limit, patience).await.unwrap();
                server.open();
                tokio::time::sleep(Duration::from_millis(2)).await;
                assert!(lease.check());
                server.close();
                lease.release().await;
            }));
        }
    }
    for cycle in cycles {
        cycle.await.unwrap();
    }
    assert_eq!(server.most(), 3);
    assert!(seen(&one, "profile/p").await.is_none(), "an idle limit leaves nothing behind");
}

#[tokio::test]
async fn a_request_over_two_limits_takes_both_or_none() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let (profile, mailbox) = (limit("profile/p", 5), limit("mailbox/m", 1));
    let both = || vec![profile.clone(), mailbox.clone()];
    let held = throttle.acquire(request(ServiceClass::Incoming, both(), Duration::ZERO)).await.unwrap();
    let refused = throttle.acquire(request(ServiceClass::Incoming, both(), Duration::ZERO)).await;
    assert!(matches!(refused, Err(Denied::NoCapacity { .. })));
    assert_eq!(seen(&coordinator, "profile/p").await.unwrap().in_use, 1);
    assert_eq!(seen(&coordinator, "mailbox/m").await.unwrap().in_use, 1);
    held.release().await;
    assert!(throttle.acquire(request(ServiceClass::Incoming, both(), Duration::ZERO)).await.is_ok());
}

#[tokio::test]
async fn a_request_that_waits_for_its_mailbox_keeps_no_slot_of_its_server_from_others() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let (profile, mailbox) = (limit("profile/p", 2), limit("mailbox/m", 1));
    let held = take(&throttle, &mailbox).await;
    let waiting = tokio::spawn({
        let throttle = throttle.clone();
        let limits = vec![profile.clone(), mailbox.clone()];
        async move {
            throttle.acquire(request(ServiceClass::Incoming, limits, Duration::from_secs(20))).await.unwrap()
        }
    });
    crate::ring::until_waiting(&coordinator, "mailbox/m", 1).await;
    let (a, b) = (take(&throttle, &profile).await, take(&throttle, &profile).await);
    held.release().await;
    // Now the mailbox is free and the server is full: the place in the queue moves over.
    crate::ring::until_waiting(&coordinator, "profile/p", 1).await;
    a.release().await;
    waiting.await.unwrap().release().await;
    b.release().await;
}

#[tokio::test]
async fn a_lower_capacity_takes_hold_at_once_and_a_higher_one_wakes_who_waits() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let at = |capacity, version| {
        let mut limit = limit("profile/p", capacity);
        limit.version = version;
        limit
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(take(&throttle, &at(3, 1)).await);
    }
    let now = |limit| {
        let throttle = throttle.clone();
        async move { acquire(&throttle, ServiceClass::Incoming, &limit, Duration::ZERO).await }
    };
    assert!(now(at(2, 2)).await.is_err());
    held.pop().unwrap().release().await;
    assert!(now(at(3, 1)).await.is_err(), "an older setting does not raise the limit again");
    held.pop().unwrap().release().await;
    held.push(now(at(2, 2)).await.unwrap());
    let waiting = tokio::spawn({
        let throttle = throttle.clone();
        async move { take(&throttle, &at(2, 2)).await }
    });
    crate::ring::until_waiting(&coordinator, "profile/p", 1).await;
    let newest = now(at(4, 3)).await.unwrap();
    held.push(waiting.await.unwrap());
    assert_eq!(seen(&coordinator, "profile/p").await.unwrap().capacity, 4);
    held.push(newest);
    drop(held);
    until("everything is free", || async { seen(&coordinator, "profile/p").await.is_none() }).await;
}

#[tokio::test]
async fn a_lease_is_kept_by_renewal_for_many_lives() {
    let ring = Ring::with_lease(Duration::from_millis(1_500)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let lease = take(&throttle, &limit("profile/p", 1)).await;
    let lost = tokio::time::timeout(ring.lease * 3, lease.lost()).await;
    assert!(lost.is_err(), "a lease that is renewed is not lost");
    assert!(lease.check());
    assert_eq!(seen(&coordinator, "profile/p").await.unwrap().in_use, 1);
}

//! Waiting: in order, up to a deadline, called at once, and told to stop when the server wants to be left alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::workload::ServiceClass;
use throttle::Denied;

use crate::ring::{Ring, acquire, limit, seen, take, until, until_waiting, worker};

#[tokio::test]
async fn a_class_is_served_in_the_order_it_asked_over_both_coordinators() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let workers = [worker(&[&one]), worker(&[&two])];
    let limit = limit("profile/p", 1);
    let held = take(&workers[0], &limit).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut cycles = Vec::new();
    for number in 0..10_u32 {
        let (throttle, limit) = (workers[number as usize % 2].clone(), limit.clone());
        let order = order.clone();
        cycles.push(tokio::spawn(async move {
            let lease = take(&throttle, &limit).await;
            order.lock().unwrap().push(number);
            lease.release().await;
        }));
        until_waiting(&one, "profile/p", number + 1).await;
    }
    held.release().await;
    for cycle in cycles {
        cycle.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_waits_to_its_deadline_and_leaves_no_trace() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit("profile/p", 1);
    let held = take(&throttle, &limit).await;
    let denied = acquire(&throttle, ServiceClass::Incoming, &limit, Duration::from_millis(300)).await;
    let retry_after = Duration::from_secs(30);
    assert_eq!(denied.unwrap_err(), Denied::NoCapacity { retry_after });
    assert_eq!(seen(&coordinator, "profile/p").await.unwrap().waiting, 0);
    held.release().await;
    assert!(seen(&coordinator, "profile/p").await.is_none());
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_queue_and_is_granted_nothing() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit("profile/p", 1);
    let held = take(&throttle, &limit).await;
    let waiting = tokio::spawn({
        let (throttle, limit) = (throttle.clone(), limit.clone());
        async move { take(&throttle, &limit).await }
    });
    until_waiting(&coordinator, "profile/p", 1).await;
    waiting.abort();
    until_waiting(&coordinator, "profile/p", 0).await;
    held.release().await;
    assert!(seen(&coordinator, "profile/p").await.is_none());
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_left_alone_by_everyone() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let (here, there) = (worker(&[&one]), worker(&[&two]));
    let limit = limit("profile/p", 1);
    let held = take(&here, &limit).await;
    let waiting = tokio::spawn({
        let (there, limit) = (there.clone(), limit.clone());
        async move { acquire(&there, ServiceClass::Incoming, &limit, Duration::from_secs(20)).await }
    });
    until_waiting(&one, "profile/p", 1).await;
    here.hold_back("profile/p".to_owned(), Duration::from_secs(2));
    // Who waits hears of it at once; the lease that is held goes on.
    let denied = waiting.await.unwrap().unwrap_err();
    assert!(matches!(&denied, Denied::HeldBack { key, .. } if key == "profile/p"), "{denied}");
    assert!(held.check());
    held.release().await;
    let denied = acquire(&there, ServiceClass::Outgoing, &limit, Duration::from_secs(20)).await;
    assert!(matches!(denied, Err(Denied::HeldBack { .. })));
    let shown = seen(&one, "profile/p").await.unwrap();
    assert!((1..=2_000).contains(&shown.held_back_for_ms) && shown.in_use == 0);
    until("it may be asked again", || async {
        acquire(&there, ServiceClass::Incoming, &limit, Duration::ZERO).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_with_what_to_do() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let now = Duration::ZERO;
    for (limit, says) in [
        (limit("profile/p", 0), "1 to 65,536"),
        (limit("profile/p", 70_000), "1 to 65,536"),
        (limit("", 1), "printable"),
        (limit("a\nb", 1), "printable"),
        (crate::ring::limit_of("profile/p", 1, &[(ServiceClass::Jobs, 10, 100)]), "does not serve"),
    ] {
        let Err(Denied::Refused { why }) = acquire(&throttle, ServiceClass::Incoming, &limit, now).await
        else {
            panic!("granted");
        };
        assert!(why.contains(says), "{why}");
    }
}

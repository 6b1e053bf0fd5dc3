//! Classes of service: minimums, ceilings, turns, and what a watch leaves to others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::workload::ServiceClass::{self, Calendar, Incoming, Jobs, Outgoing, Watch};
use throttle::{Lease, Limit, Throttle};

use crate::ring::{Ring, Running, acquire, limit_of, until, until_waiting, worker};

/// Lets requests queue up one by one behind a full limit, then frees slot after slot, the oldest grant first, and
/// tells whose turn it was each time.
async fn turns(
    coordinator: &Running,
    throttle: &Throttle,
    limit: &Limit,
    held: Vec<Lease>,
    queue: &[ServiceClass],
) -> Vec<ServiceClass> {
    let granted = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = 0;
    for &class in queue {
        let (throttle, wanted, granted) = (throttle.clone(), limit.clone(), granted.clone());
        tokio::spawn(async move {
            let lease = acquire(&throttle, class, &wanted, Duration::from_secs(20)).await.unwrap();
            granted.lock().unwrap().push((class, Some(lease)));
        });
        waiting += 1;
        until_waiting(coordinator, &limit.key, waiting).await;
    }
    let mut oldest = held.into_iter().collect::<VecDeque<_>>();
    for number in 0..queue.len() {
        oldest.pop_front().unwrap().release().await;
        until("the next is served", || async { granted.lock().unwrap().len() > number }).await;
        oldest.extend(granted.lock().unwrap()[number].1.take());
    }
    granted.lock().unwrap().iter().map(|(class, _)| *class).collect()
}

async fn hold(throttle: &Throttle, limit: &Limit, class: ServiceClass, count: usize) -> Vec<Lease> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(acquire(throttle, class, limit, Duration::ZERO).await.unwrap());
    }
    held
}

#[tokio::test]
async fn an_idle_minimum_is_lent_and_comes_back_with_the_next_free_slots() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit_of("profile/p", 4, &[(Incoming, 50, 100), (Outgoing, 50, 100)]);
    let held = hold(&throttle, &limit, Incoming, 4).await;
    let queue = [Incoming, Incoming, Outgoing, Outgoing, Outgoing];
    let order = turns(&coordinator, &throttle, &limit, held, &queue).await;
    // Outgoing is 2 below its minimum, incoming 2 above: the first two slots go back, then whoever was served longest ago.
    assert_eq!(order[..2], [Outgoing, Outgoing]);
}

#[tokio::test]
async fn a_class_never_passes_its_ceiling_though_slots_are_free() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit_of("profile/p", 4, &[(Incoming, 40, 50), (Outgoing, 40, 100)]);
    let held = hold(&throttle, &limit, Incoming, 2).await;
    assert!(acquire(&throttle, Incoming, &limit, Duration::ZERO).await.is_err());
    let others = hold(&throttle, &limit, Outgoing, 2).await;
    assert_eq!((held.len(), others.len()), (2, 2));
}

#[tokio::test]
async fn who_waits_at_his_ceiling_keeps_no_slot_from_others() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit_of("profile/p", 2, &[(Incoming, 40, 50), (Outgoing, 40, 100)]);
    let held = hold(&throttle, &limit, Incoming, 1).await;
    let waiting = tokio::spawn({
        let (throttle, limit) = (throttle.clone(), limit.clone());
        async move { acquire(&throttle, Incoming, &limit, Duration::from_secs(20)).await.unwrap() }
    });
    until_waiting(&coordinator, "profile/p", 1).await;
    let other = hold(&throttle, &limit, Outgoing, 1).await;
    drop(held);
    waiting.await.unwrap().release().await;
    drop(other);
}

#[tokio::test]
async fn at_a_limit_of_one_every_class_has_its_turn() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let all = [Incoming, Outgoing, Calendar, Jobs].map(|class| (class, 25, 100));
    let limit = limit_of("profile/p", 1, &all);
    let held = hold(&throttle, &limit, Incoming, 1).await;
    let queue = [Incoming, Incoming, Incoming, Incoming, Outgoing, Outgoing, Calendar, Calendar, Jobs, Jobs];
    let order = turns(&coordinator, &throttle, &limit, held, &queue).await;
    for round in [&order[..4], &order[4..8]] {
        for class in [Incoming, Outgoing, Calendar, Jobs] {
            assert_eq!(round.iter().filter(|one| **one == class).count(), 1, "{order:?}");
        }
    }
}

#[tokio::test]
async fn at_limits_of_one_two_and_three_every_waiting_class_is_served_and_none_passes_its_ceiling() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let shares = [(Incoming, 40), (Outgoing, 20), (Calendar, 20), (Jobs, 10), (Watch, 10)];
    for capacity in 1..=3 {
        let limit = limit_of(
            &format!("profile/{capacity}"),
            capacity,
            &shares.map(|(class, share)| (class, share, 100)),
        );
        let mut held = Vec::new();
        for (class, _) in shares.into_iter().take(capacity as usize) {
            held.extend(hold(&throttle, &limit, class, 1).await);
        }
        let queue: Vec<_> = shares.iter().flat_map(|(class, _)| [*class; 3]).collect();
        let order = turns(&coordinator, &throttle, &limit, held, &queue).await;
        // A round is as many grants as the limit has slots and classes.
        let round = capacity as usize + shares.len();
        for (class, _) in shares {
            let first = order.iter().position(|one| *one == class);
            assert!(first.is_some_and(|first| first <= round), "{class} starves at {capacity}: {order:?}");
        }
        // Half of the limit is the most that any class may hold, and one slot always.
        let half = limit_of(
            &format!("profile/half/{capacity}"),
            capacity,
            &shares.map(|(class, share)| (class, share, 50)),
        );
        let ceiling = (capacity / 2).max(1) as usize;
        let mut held = Vec::new();
        for (class, _) in shares {
            let wanted = ceiling.min(capacity as usize - held.len());
            held.extend(hold(&throttle, &half, class, wanted).await);
            assert!(acquire(&throttle, class, &half, Duration::ZERO).await.is_err(), "{class} at {capacity}");
        }
        assert_eq!(held.len(), capacity as usize);
    }
}

#[tokio::test]
async fn a_watch_never_takes_the_last_slot_of_a_mailbox() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let mut limit = limit_of("mailbox/m", 2, &[(Incoming, 40, 100), (Watch, 10, 100)]);
    limit.spare_for_watch = true;
    let watch = hold(&throttle, &limit, Watch, 1).await;
    assert!(acquire(&throttle, Watch, &limit, Duration::ZERO).await.is_err());
    let cycle = hold(&throttle, &limit, Incoming, 1).await;
    assert_eq!((watch.len(), cycle.len()), (1, 1));
}

#[tokio::test]
async fn a_class_whose_minimum_rounds_to_nothing_has_its_turn_within_a_round() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let limit = limit_of("profile/p", 3, &[(Incoming, 34, 100), (Outgoing, 65, 100), (Calendar, 1, 100)]);
    // Outgoing keeps a slot that it was lent, so incoming is below its minimum each time its one slot comes free.
    let lent = hold(&throttle, &limit, Outgoing, 2).await;
    let held = hold(&throttle, &limit, Incoming, 1).await;
    let mut queue = vec![Calendar];
    queue.extend([Incoming; 9]);
    let order = turns(&coordinator, &throttle, &limit, held, &queue).await;
    // A round is as many grants as the limit has slots and classes.
    assert_eq!(order.iter().position(|class| *class == Calendar), Some(6), "{order:?}");
    drop(lent);
}

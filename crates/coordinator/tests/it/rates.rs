//! Rates against a real Redis: what is allowed survives whoever decides, and is never allowed twice.

use std::time::Duration;

use model::workload::ServiceClass;
use throttle::{Denied, Lease, Rate, Throttle};

use crate::ring::{Crashing, Ring, limit, request, status, until, worker, worker_at};

const HOUR: Duration = Duration::from_secs(3_600);

fn rate(amount: u64, least: u64, portion: u64) -> Rate {
    Rate { key: "mailbox/m".to_owned(), amount, window: HOUR, least, portion }
}

async fn ask(throttle: &Throttle, rate: Rate) -> Result<Lease, Denied> {
    let request = request(ServiceClass::Outgoing, vec![limit("profile/p", 10)], Duration::from_secs(20));
    throttle.acquire_within(request, vec![rate]).await
}

/// Uses what there is of the rate under this lease; how much that was.
async fn used(lease: &Lease) -> u64 {
    let mut used = 0;
    while lease.allowance().room(&[(0, 1, 1)]).await.is_ok() {
        lease.allowance().spend(0, 1);
        used += 1;
    }
    used
}

#[tokio::test]
async fn what_was_spent_is_denied_to_the_next_with_the_time_and_the_rest_is_free() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let coordinator = ring.coordinator().await;
    let throttle = worker(&[&coordinator]);
    let first = ask(&throttle, rate(5, 1, 4)).await.unwrap();
    first.allowance().room(&[(0, 3, 0)]).await.unwrap();
    first.allowance().spend(0, 3);
    first.release().await;
    let second = ask(&throttle, rate(5, 1, 4)).await.unwrap();
    let allowance = second.allowance();
    allowance.room(&[(0, 2, 0)]).await.unwrap();
    allowance.spend(0, 2);
    let spent = allowance.room(&[(0, 1, 0)]).await.unwrap_err();
    assert_eq!(spent.key, "mailbox/m");
    assert!(spent.retry_after > Duration::from_secs(3_540), "{spent:?}");
    second.release().await;
    match ask(&throttle, rate(5, 1, 4)).await {
        Err(Denied::RateSpent { retry_after, key }) => {
            assert_eq!(key, "mailbox/m");
            assert!(retry_after > Duration::from_secs(3_540), "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
    let seen = status(&coordinator).await;
    assert_eq!(
        seen.rates.iter().map(|rate| (rate.amount, rate.spent, rate.allowed)).collect::<Vec<_>>(),
        [(5, 5, 0)]
    );
}

#[tokio::test]
async fn a_coordinator_that_takes_over_counts_what_was_spent_and_what_is_allowed() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let one = Crashing::start(&ring);
    let there = worker_at(&one.url);
    let done = ask(&there, rate(10, 1, 3)).await.unwrap();
    done.allowance().spend(0, 3);
    done.release().await;
    // Its worker goes down with the coordinator that it talks to, and nobody knows what it spent.
    let _held = ask(&there, rate(10, 1, 4)).await.unwrap();
    one.crash();
    let two = ring.coordinator().await;
    let here = worker(&[&two]);
    until("the other decides", || async { ask(&here, rate(10, 0, 1)).await.is_ok() }).await;
    let lease = ask(&here, rate(10, 0, 1)).await.unwrap();
    assert_eq!(used(&lease).await, 3);
}

#[tokio::test]
async fn a_worker_goes_on_under_its_lease_with_whoever_decides_and_draws_no_more_than_there_is() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let one = ring.coordinator().await;
    let two = ring.coordinator().await;
    let throttle = worker(&[&one, &two]);
    let lease = ask(&throttle, rate(5, 1, 2)).await.unwrap();
    lease.allowance().spend(0, 2);
    one.stop().await;
    until("more may be drawn", || async { lease.allowance().room(&[(0, 1, 0)]).await.is_ok() }).await;
    assert_eq!(used(&lease).await, 3);
    assert!(lease.check());
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_told_again_what_is_spent() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let one = ring.coordinator().await;
    let throttle = worker(&[&one]);
    let lease = ask(&throttle, rate(5, 1, 4)).await.unwrap();
    lease.allowance().spend(0, 4);
    lease.release().await;
    ring.flush().await;
    until("it is written down again", || async { !ring.rates().await.is_empty() }).await;
    one.stop().await;
    let two = ring.coordinator().await;
    let here = worker(&[&two]);
    until("the other decides", || async { ask(&here, rate(5, 0, 1)).await.is_ok() }).await;
    let lease = ask(&here, rate(5, 0, 1)).await.unwrap();
    assert_eq!(used(&lease).await, 1);
}

#[tokio::test]
async fn many_workers_at_two_coordinators_never_get_more_than_there_is() {
    let ring = Ring::with_lease(Duration::from_secs(30)).await;
    let (one, two) = (ring.coordinator().await, ring.coordinator().await);
    let mut asking = Vec::new();
    for coordinator in [&one, &two, &one, &two] {
        let throttle = worker(&[coordinator]);
        for _ in 0..20 {
            let throttle = throttle.clone();
            asking.push(tokio::spawn(async move {
                let Ok(lease) = ask(&throttle, rate(50, 1, 2)).await else { return 0 };
                let mut used = 0;
                while used < 3 && lease.allowance().room(&[(0, 1, 0)]).await.is_ok() {
                    lease.allowance().spend(0, 1);
                    used += 1;
                }
                lease.release().await;
                used
            }));
        }
    }
    let mut used = 0;
    for asked in asking {
        used += asked.await.unwrap();
    }
    assert_eq!(used, 50);
}

//! Cancellation at every request: the claim taken away, the lease lost, the process told to stop. Whatever the request,
//! nothing is half there, nothing is lost, and nothing is done twice.

use std::time::Duration;

use cycle::{Ending, Parts};
use model::email::EmailState;
use model::workload::Workload;
use servers::Fault;
use store::mailbox;
use store::outgoing::Draft;
use tokio_util::sync::CancellationToken;

use crate::house::{House, Person, by, message, to};
use crate::provider::Provider;

/// What takes a cycle away from its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A person switches the workload off and on again.
    ClaimTaken,
    /// The lease is lost: the cycle is dropped, and its connection with it.
    LeaseLost,
    /// The process drains.
    Shutdown,
}

/// Whether the cycle came as far as the request that was to be kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    AsFar,
    ToItsEnd,
}

/// Runs a cycle, and takes it away while the request `number` is kept back.
async fn taken_away<P: Provider>(
    house: &House<P>,
    of: &Person,
    workload: Workload,
    number: u32,
    how: How,
) -> Came {
    let door = house.door(workload);
    door.set(Fault::Hold(number));
    let parts = Parts { drain: CancellationToken::new(), ..house.parts.clone() };
    let drain = parts.drain.clone();
    let mut cycle = house.claimed_with(&parts, of, workload).await.expect("nothing holds it back");
    let (came, ended) = {
        let running = cycle.run(|| how != How::LeaseLost);
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => (Came::ToItsEnd, Some(ended)),
            () = door.reached() => {
                match how {
                    How::ClaimTaken => bump(house, of, workload).await,
                    How::LeaseLost => {}
                    How::Shutdown => drain.cancel(),
                }
                let ended = if how == How::LeaseLost {
                    None
                } else {
                    door.go_on();
                    Some(running.await)
                };
                (Came::AsFar, ended)
            }
        }
    };
    if how == How::LeaseLost && came == Came::AsFar {
        // The connection is gone by now, and what was kept back goes nowhere.
        door.go_on();
    }
    door.set(Fault::None);
    let ending = match ended {
        Some(Some(ending)) => ending,
        // Whoever lost the claim writes nothing more.
        Some(None) => return came,
        None => Ending::ours(),
    };
    match cycle.finish(&ending).await {
        Ok(_) | Err(store::Error::Fenced) => {}
        Err(error) => panic!("{error}"),
    }
    came
}

async fn bump<P: Provider>(house: &House<P>, of: &Person, workload: Workload) {
    let tenant = house.tenant().await;
    mailbox::disable(&tenant, of.mailbox, workload, None, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    let tenant = house.tenant().await;
    mailbox::enable(&tenant, of.mailbox, workload, Duration::ZERO, &by()).await.unwrap();
    tenant.commit().await.unwrap();
}

/// Takes a reading cycle away at its first request, then at its second, and so on until there are no more.
async fn reading<P: Provider>(how: How) {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    let mut delivered = 0;
    for number in 1.. {
        for _ in 0..3 {
            delivered += 1;
            house.provider.deliver(&anna.address, &message(delivered, &anna.address));
        }
        let came = Box::pin(taken_away(&house, &anna, Workload::Incoming, number, how)).await;
        let (emails, items) = (house.count("emails").await, house.count("mailbox_items").await);
        assert_eq!(emails, items, "records and decisions go together, at request {number}");
        house.later().await;
        house.receive(&anna).await;
        let all = i64::try_from(delivered).unwrap();
        for what in ["emails", "receipts", "mailbox_items where decision = 'recorded'"] {
            assert_eq!(house.count(what).await, all, "{what} at request {number}");
        }
        house.assert_recovered().await;
        if came == Came::ToItsEnd {
            assert!(number >= P::REQUESTS, "a conversation of {number} requests is none");
            return;
        }
    }
}

/// The same for a sending cycle.
async fn sending<P: Provider>(how: How) {
    let house = House::<P>::build().await;
    let from = house.person("sender").await;
    for number in 1.. {
        let other = house.person(&format!("other{number}")).await;
        let email = house.ask(&from, Draft { to: to(&other.address), ..Draft::default() }).await;
        let came = Box::pin(taken_away(&house, &from, Workload::Outgoing, number, how)).await;
        house.later().await;
        house.transmit(&from).await;
        let (state, handed) = (house.state(email).await, house.handed_over_to(&other.address));
        match state {
            EmailState::Sent => assert_eq!(handed, 1, "at request {number}"),
            // Nobody knows: then it was offered once at most, and a person was told.
            EmailState::Unknown => {
                assert!(handed <= 1 && how != How::Shutdown, "{handed} at request {number}");
                let told = format!("alerts where kind = 'send_unknown' and email_id = '{}'", email.0);
                assert_eq!(house.count(&told).await, 1);
            }
            other => panic!("{other:?} at request {number}"),
        }
        if state == EmailState::Sent {
            assert_eq!(house.arrived(&other.address, 1).await.len(), 1);
        }
        if came == Came::ToItsEnd {
            assert!(number >= P::REQUESTS, "a conversation of {number} requests is none");
            return;
        }
    }
}

pub(crate) async fn a_claim_that_is_taken_away_at_any_request_of_reading_leaves_nothing_half<P: Provider>() {
    reading::<P>(How::ClaimTaken).await;
}

pub(crate) async fn a_claim_that_is_taken_away_at_any_request_of_sending_sends_nothing_twice<P: Provider>() {
    sending::<P>(How::ClaimTaken).await;
}

pub(crate) async fn a_lease_that_is_lost_at_any_request_of_reading_leaves_nothing_half<P: Provider>() {
    reading::<P>(How::LeaseLost).await;
}

pub(crate) async fn a_lease_that_is_lost_at_any_request_of_sending_sends_nothing_twice<P: Provider>() {
    sending::<P>(How::LeaseLost).await;
}

pub(crate) async fn a_shutdown_at_any_request_of_reading_ends_at_a_seam<P: Provider>() {
    reading::<P>(How::Shutdown).await;
}

pub(crate) async fn a_shutdown_at_any_request_of_sending_ends_at_a_seam<P: Provider>() {
    sending::<P>(How::Shutdown).await;
}

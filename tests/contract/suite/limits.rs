//! Limits, counted where the server counts: at its door.

use std::sync::Arc;
use std::time::Duration;

use cycle::{Config, Cycle, lease_request};
use model::actor::Actor;
use model::email::EmailState;
use model::message::OutgoingAttachment;
use model::workload::{ServiceClass, Workload};
use servers::Fault;
use store::change::Author;
use store::outgoing::Draft;

use crate::house::{House, config, message, taking, to};
use crate::provider::Provider;
use crate::ring::Ring;

pub(crate) async fn never_more_connections_than_allowed_are_open_and_everyone_gets_a_turn<P: Provider>() {
    let house = House::<P>::with(config(), |profile| profile.limits.max_in_flight = 3).await;
    let house = Arc::new(house);
    let ring = Ring::start(&house.organization.0.simple().to_string()).await;
    let people = house.people(16).await;
    for person in &people {
        house.provider.deliver(&person.address, &message(1, &person.address));
    }
    // Two processes, each with cycles of its own, all at once.
    let (one, two) = (ring.process(), ring.process());
    let mut cycles = Vec::new();
    for (number, person) in people.iter().enumerate() {
        let person = person.clone();
        let throttle = if number % 2 == 0 { one.clone() } else { two.clone() };
        let house = Arc::clone(&house);
        cycles.push(tokio::spawn(async move {
            // No more are claimed at once than fit into the window of the profile.
            let mut cycle = loop {
                match house.claimed(&person, Workload::Incoming).await {
                    Some(cycle) => break cycle,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            let request = lease_request(&house.parts.mail, &cycle.mailbox, ServiceClass::Incoming);
            let lease = throttle.acquire(request).await.unwrap();
            let ending = cycle.run(|| lease.check()).await.unwrap();
            parted(&cycle).await;
            lease.release().await;
            cycle.finish(&ending).await.unwrap();
        }));
    }
    for cycle in cycles {
        cycle.await.unwrap();
    }
    let front = house.door(Workload::Incoming).front();
    assert_eq!(front.maximum(), 3, "the limit is used and never passed");
    assert!(front.total() >= people.len());
    assert_eq!(house.count("(select distinct mailbox_id from receipts) r").await, 16);
}

/// As a worker does before it gives a lease back: a connection counts until its server has closed it too.
async fn parted(cycle: &Cycle) {
    cycle.ends().part(Duration::from_secs(5)).await.unwrap();
}

pub(crate) async fn one_mailbox_has_one_connection_whatever_wants_it<P: Provider>() {
    let house = House::<P>::build().await;
    let ring = Ring::start(&house.organization.0.simple().to_string()).await;
    let anna = house.person("anna").await;
    for number in 0..50 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    let throttle = ring.process();
    let mut cycle = house.claimed(&anna, Workload::Incoming).await.unwrap();
    let mailbox = cycle.mailbox.clone();
    assert!(
        mailbox.server.limits.max_connections > 1,
        "what a profile allows each mailbox is not what it uses"
    );
    // What a person asked for while the cycle runs: a test, several times over.
    let tests = (0..4).map(|_| async {
        let request = lease_request(&house.parts.mail, &mailbox, ServiceClass::Jobs);
        let lease = throttle.acquire(request).await.unwrap();
        let cycle::Parts { store, keys, mail, .. } = &house.parts;
        let (mail, ends) = mail.with_ends();
        let keeper = cycle::access::Keeper { store, keys, mail: &mail, organization: house.organization };
        let found =
            cycle::test(&keeper, &mailbox, taking(), &Author::new(Actor::Operator, "test")).await.unwrap();
        ends.part(Duration::from_secs(5)).await.unwrap();
        lease.release().await;
        assert!(found.failed.is_none(), "{:?}", found.steps);
    });
    let tests = futures_util::future::join_all(tests);
    let running = async {
        let request = lease_request(&house.parts.mail, &mailbox, ServiceClass::Incoming);
        let lease = throttle.acquire(request).await.unwrap();
        let ending = cycle.run(|| lease.check()).await.unwrap();
        parted(&cycle).await;
        lease.release().await;
        ending
    };
    let (_, ending) =
        tokio::time::timeout(Duration::from_secs(60), Box::pin(async { tokio::join!(tests, running) }))
            .await
            .unwrap();
    cycle.finish(&ending).await.unwrap();
    let front = house.door(Workload::Incoming).front();
    assert!(front.maximum() <= P::OF_A_MAILBOX, "{} at once", front.maximum());
    assert_eq!(front.total(), 5);
    assert_eq!(house.count("emails").await, 50);
}

pub(crate) async fn large_mails_on_their_way_out_wait_until_there_is_memory_for_them<P: Provider>() {
    // A profile leaves as much free as it has: room for what one of the large ones holds at a time, and for small ones.
    let house = House::<P>::with(Config { send_memory_mb: 8, ..config() }, |_| {}).await;
    let people = house.people(4).await;
    let file = OutgoingAttachment {
        name: "large.bin".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        bytes: vec![7; 4_000_000].into(),
        inline_id: None,
    };
    let draft = || Draft { to: to(&people[3].address), ..Draft::default() };
    let first = house.ask_with(&people[0], draft(), std::slice::from_ref(&file)).await;
    let second = house.ask_with(&people[1], draft(), &[file]).await;
    let small = house.ask(&people[2], draft()).await;
    let door = house.door(Workload::Outgoing);

    // The first is kept back in the middle of its conversation, with what it may hold in memory.
    door.set(Fault::Hold(3));
    let mut one = house.claimed(&people[0], Workload::Outgoing).await.unwrap();
    let mut two = house.claimed(&people[1], Workload::Outgoing).await.unwrap();
    let one = tokio::spawn(async move { (one.run(|| true).await.unwrap(), one) });
    door.reached().await;
    assert_eq!(house.state(first).await, EmailState::Sending);
    door.set(Fault::None);
    house.transmit(&people[2]).await;
    assert_eq!(house.state(small).await, EmailState::Sent, "there is room for it");
    let two = tokio::spawn(async move { (two.run(|| true).await.unwrap(), two) });
    while door.front().total() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It is connected, and would be on its way by now.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert_eq!(house.state(second).await, EmailState::PendingSend, "there is none for another large one");
    }
    door.go_on();
    for running in [one, two] {
        let (ending, cycle) = running.await.unwrap();
        cycle.finish(&ending).await.unwrap();
    }
    assert_eq!((house.state(first).await, house.state(second).await), (EmailState::Sent, EmailState::Sent));
    assert_eq!(house.arrived(&people[3].address, 3).await.len(), 3);
}

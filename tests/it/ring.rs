//! The ring: wishes, invitations that come twice, and coordinators that come and go.

use std::num::NonZero;
use std::time::Duration;

use broker::{CycleInvitation, Invitation, Publication, Publisher, Queue};
use lockstep_tests::{Installation, MailProfile, Mailbox, until};
use model::workload::Workload;
use servers::CountingProxy;

use crate::house::House;

#[tokio::test]
async fn a_wish_during_a_running_cycle_is_not_lost() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,worker,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.deliver(&anna, "before", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;

    // A cycle that has taken its listing and cannot end.
    pop3.delay(Duration::from_millis(300));
    house.api.sync(&anna, "incoming").await;
    house.scheduled(&anna, "incoming", "state", "running").await;
    let claim: i64 = house.schedule(&anna, "incoming", "claim").await.parse().unwrap();
    house.deliver(&anna, "during", 0);
    house.api.sync(&anna, "incoming").await;
    house.api.sync(&anna, "incoming").await;
    assert_eq!(house.schedule(&anna, "incoming", "state").await, "running", "the cycle is still under way");
    pop3.delay(Duration::ZERO);
    house.received(&anna, 2).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    until("the wish is granted", async || {
        let wished = house.schedule(&anna, "incoming", "wished_at").await;
        if wished.is_empty() { Ok(()) } else { Err(wished) }
    })
    .await;
    let now: i64 = house.schedule(&anna, "incoming", "claim").await.parse().unwrap();
    assert_eq!(now, claim + 1, "two wishes during one cycle are one cycle more");
}

#[tokio::test]
async fn the_same_delivery_handled_twice_changes_nothing() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..10 {
        house.deliver(&anna, &format!("Message {number}"), 0);
    }
    house.api.sync(&anna, "incoming").await;
    house.scheduled(&anna, "incoming", "state", "queued").await;
    let claim: i64 = house.schedule(&anna, "incoming", "claim").await.parse().unwrap();
    // Three copies beside the scheduler's own, before anyone takes the first.
    publish(&house, &anna, claim, 3).await;
    let _worker = house.installation.start("worker");
    house.received(&anna, 10).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    let all = "select md5(string_agg(t, '' order by t)) from (
        select emails::text as t from emails union all select mailbox_items::text from mailbox_items
        union all select schedules::text from schedules union all select changes::text from changes
        union all select receipts::text from receipts) as rows (t)";
    taken(&house).await;
    let before: String = house.installation.sql().await.query_one(all, &[]).await.unwrap().get(0);

    // And after it: the present number, older ones, and one that never was.
    publish(&house, &anna, claim, 3).await;
    publish(&house, &anna, claim - 1, 1).await;
    publish(&house, &anna, claim + 7, 1).await;
    taken(&house).await;
    let after: String = house.installation.sql().await.query_one(all, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "not one row differs");
    assert_eq!(house.schedule(&anna, "incoming", "claim").await, claim.to_string());
}

async fn publish(house: &House, mailbox: &Mailbox, claim: i64, copies: usize) {
    let config = broker::Config {
        url: house.installation.configuration.get("broker.url").expect("a broker").to_owned().into(),
        ca_file: String::new(),
        publish_window: NonZero::new(100).expect("not zero"),
        message_ttl_seconds: NonZero::new(330).expect("not zero"),
        confirm_timeout_seconds: NonZero::new(10).expect("not zero"),
        heartbeat_seconds: NonZero::new(10).expect("not zero"),
    };
    let publisher = Publisher::new(&config, "a test").expect("a publisher");
    let invitation = Invitation::Cycle(CycleInvitation {
        organization: house.api.organization.parse().expect("an id"),
        mailbox: mailbox.id.parse().expect("an id"),
        workload: Workload::Incoming,
        claim,
    });
    let batch = vec![Publication { invitation, trace: None }; copies];
    let outcomes = publisher.publish_batch(&batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == broker::Published::Confirmed), "{outcomes:?}");
}

/// Waits until every invitation was taken and acked.
async fn taken(house: &House) {
    let queue = Queue::of(Workload::Incoming).to_string();
    until("the queue is empty and nothing is unacked", async || {
        let listed = house
            .installation
            .servers
            .rabbitmq
            .control(&["list_queues", "--vhost", &house.installation.virtual_host, "name", "messages"])
            .await;
        let messages = listed
            .lines()
            .find_map(|line| line.strip_prefix(queue.as_str()))
            .map(str::trim)
            .map(str::to_owned);
        if messages.as_deref() == Some("0") { Ok(()) } else { Err(listed) }
    })
    .await;
}

#[tokio::test]
async fn a_coordinator_that_dies_costs_nothing_while_another_lives() {
    let mut installation = Installation::new().await;
    let ports = [lockstep_tests::free_port(), lockstep_tests::free_port()];
    let listen = ports.map(|port| format!("127.0.0.1:{port}"));
    let urls: Vec<String> = listen.iter().map(|listen| format!("http://{listen}")).collect();
    installation.configuration.set("throttle.urls", urls);
    let coordinator = |listen: &str| {
        let configuration = installation.configuration.clone().with("coordinator.listen", listen);
        installation.start_with("coordinator", &configuration)
    };
    let (mut one, mut two) = (coordinator(&listen[0]), coordinator(&listen[1]));
    let mut process = installation.start("scheduler,worker,jobs,api");
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail).with("max_in_flight", 2);
    let house = House::furnish(installation, &profile).await;
    let mut people = Vec::new();
    for name in ["anna", "bert", "carl", "dora"] {
        people.push(house.enabled(name).await);
    }
    let mut expected = 0;
    for round in 0..3 {
        for person in &people {
            house.deliver(person, &format!("Round {round}"), 0);
            house.api.sync(person, "incoming").await;
        }
        expected += 1;
        match round {
            0 => one.kill().await,
            1 => {
                one = {
                    let configuration = house
                        .installation
                        .configuration
                        .clone()
                        .with("coordinator.listen", listen[0].as_str());
                    house.installation.start_with("coordinator", &configuration)
                };
                two.kill().await;
            }
            _ => {}
        }
        for person in &people {
            house.received(person, expected).await;
        }
    }
    assert!(one.has_ended().is_none());
    assert_eq!(house.installation.count("select count(*) from alerts").await, 0);
}

#[tokio::test]
async fn every_role_runs_twice_and_everything_happens_once() {
    let mut installation = Installation::new().await;
    let ports = [lockstep_tests::free_port(), lockstep_tests::free_port()];
    let listen = ports.map(|port| format!("127.0.0.1:{port}"));
    let urls: Vec<String> = listen.iter().map(|listen| format!("http://{listen}")).collect();
    installation.configuration.set("throttle.urls", urls);
    let all = "scheduler,coordinator,worker,jobs,api";
    installation.configuration.set("coordinator.listen", listen[0].as_str());
    let mut process = installation.start(all);
    let second = installation
        .configuration
        .clone()
        .with("coordinator.listen", listen[1].as_str())
        .with("api.listen", format!("127.0.0.1:{}", lockstep_tests::free_port()));
    let mut other = installation.start_with(all, &second);
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let mut people = Vec::new();
    for number in 0..6 {
        people.push(house.enabled(&format!("person{number}")).await);
    }
    for round in 0..4 {
        for (sender, person) in people.iter().enumerate() {
            let receiver = &people[(sender + 1) % people.len()];
            let email = house.draft(person, &receiver.address, &format!("Round {round}")).await;
            house.api.ask_to_send(&email).await;
        }
        for person in &people {
            house.arrived(&person.address, round + 1).await;
            house.api.sync(person, "incoming").await;
        }
        for person in &people {
            house.received(person, i64::try_from(round + 1).unwrap()).await;
        }
    }
    let outgoing = "select count(*) from emails where direction = 'outgoing' and state = 'sent'";
    assert_eq!(house.installation.count(outgoing).await, 24);
    assert_eq!(
        house.installation.count("select count(*) from emails where direction = 'incoming'").await,
        24
    );
    assert_eq!(house.installation.count("select count(*) from send_attempts").await, 24, "one try each");
    let claims = "select count(*) from schedules where deaths > 0";
    assert_eq!(house.installation.count(claims).await, 0);
    assert_eq!(process.terminate().await.code(), Some(0), "{}", process.log());
    assert_eq!(other.terminate().await.code(), Some(0), "{}", other.log());
}

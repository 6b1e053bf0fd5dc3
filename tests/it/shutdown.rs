//! Ending in good order: what is under way ends, then the process does; a second signal ends it at once.

use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, Mailbox, Signal, until};
use serde_json::{Value, json};
use servers::CountingProxy;

use crate::house::House;

const MAILBOXES: usize = 8;
const MESSAGES: i64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_told_to_end_ends_its_cycles_and_gives_every_lease_back() {
    // A lease outlasts the test: only who gives it back frees its slot.
    let installation =
        Installation::new().await.with("cycle.batch_items", 5).with("coordinator.lease_millis", 1_800_000);
    let mut others = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut others).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail)
        .incoming("localhost", pop3.port(), "start_tls")
        .with("max_in_flight", MAILBOXES);
    let house = House::furnish(installation, &profile).await;
    let mut mailboxes = Vec::new();
    for number in 0..MAILBOXES {
        let mailbox = house.enabled(&format!("person{number}")).await;
        for number in 0..MESSAGES {
            house.deliver(&mailbox, &format!("Message {number}"), 4000);
        }
        mailboxes.push(mailbox);
    }

    // In the middle of many cycles.
    pop3.delay(Duration::from_millis(80));
    for mailbox in &mailboxes {
        house.api.sync(mailbox, "incoming").await;
    }
    let mut worker = house.installation.start("worker");
    until("many have some of their messages", async || {
        let count = received(&house).await.len();
        if count >= MAILBOXES / 2 { Ok(()) } else { Err(format!("{count} have")) }
    })
    .await;
    let running = "select count(*) from schedules where state = 'running'";
    let in_flight = house.installation.count(running).await;
    assert!(in_flight > 1, "{in_flight} cycles are in flight");
    assert_ne!(leases(&house).await["limits"], json!([]), "they hold leases");
    let status = worker.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", worker.log());

    // What was fetched is committed, and the cycles are ended, not cut: nobody has to find out that one died.
    let cut_off = received(&house).await.into_iter().filter(|count| *count < MESSAGES).count();
    assert!(cut_off > 0, "in the middle");
    for (column, wrong) in [("state", "= 'running'"), ("last_outcome", "<> 'done'"), ("deaths", "> 0")] {
        let rows = format!("select count(*) from schedules where workload = 'incoming' and {column} {wrong}");
        assert_eq!(house.installation.count(&rows).await, 0, "{column} {wrong}");
    }
    let more = "select count(*) from schedules where due_reason = 'more_to_do'";
    assert!(house.installation.count(more).await >= i64::try_from(cut_off).unwrap(), "the rest is due");
    let sessions = "select count(*) from sessions where ended_at is null and slots > 0";
    assert_eq!(house.installation.count(sessions).await, 0);
    until("every lease is given back", async || {
        let shown = leases(&house).await;
        let free = shown["limits"] == json!([]) && shown["in_doubt"] == json!([]);
        if free { Ok(()) } else { Err(format!("{shown:#}")) }
    })
    .await;

    pop3.delay(Duration::ZERO);
    let mut worker = house.installation.start("worker");
    for mailbox in &mailboxes {
        house.received(mailbox, MESSAGES).await;
    }
    assert_eq!(worker.terminate().await.code(), Some(0), "{}", worker.log());
}

#[tokio::test]
async fn the_second_signal_does_not_wait_and_others_go_on_from_what_is_committed() {
    let installation = Installation::new().await.with("cycle.batch_items", 5);
    let mut others = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut others).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna: Mailbox = house.enabled("anna").await;
    for number in 0..40 {
        house.deliver(&anna, &format!("Message {number}"), 4000);
    }
    pop3.delay(Duration::from_millis(40));
    let mut worker = house.installation.start("worker");
    house.api.sync(&anna, "incoming").await;
    until("some are received", async || match house.receipts(&anna).await {
        0 => Err("none are"),
        _ => Ok(()),
    })
    .await;
    pop3.blackhole(true);
    worker.signal(Signal::Terminate).await;
    worker.signal(Signal::Terminate).await;
    let status = worker.ended().await;
    assert!(status.code().is_some(), "it ended by itself: {status}");
    pop3.blackhole(false);
    pop3.delay(Duration::ZERO);
    let _worker = house.installation.start("worker");
    house.received(&anna, 40).await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 40);
}

/// How many messages of each mailbox are received, for those that have any.
async fn received(house: &House) -> Vec<i64> {
    let counts = "select count(*) from receipts group by mailbox_id";
    let rows = house.installation.sql().await.query(counts, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn leases(house: &House) -> Value {
    let listed = house.installation.run(&["leases", "list", "--json"]).await;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    serde_json::from_slice(&listed.stdout).expect("JSON")
}

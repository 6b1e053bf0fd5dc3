//! Ending in good order: what is under way ends, then the process does; a second signal ends it at once.

use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, Signal};
use servers::CountingProxy;

use crate::house::House;

#[tokio::test]
async fn a_process_that_is_told_to_end_ends_its_cycles_first() {
    let installation = Installation::new().await.with("cycle.batch_items", 5);
    let mut others = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut others).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..40 {
        house.deliver(&anna, &format!("Message {number}"), 4000);
    }

    // In the middle of a cycle.
    let mut worker = house.installation.start("worker");
    pop3.delay(Duration::from_millis(40));
    house.api.sync(&anna, "incoming").await;
    some_are_received(&house).await;
    let status = worker.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", worker.log());
    // What was fetched is committed, and the cycle is ended, not cut: nobody has to find out that it died.
    let received = house.receipts(&anna).await;
    assert!((5..40).contains(&received), "{received}");
    for (column, value) in [("last_outcome", "done"), ("due_reason", "more_to_do"), ("deaths", "0")] {
        assert_eq!(house.schedule(&anna, "incoming", column).await, value, "{column}");
    }
    // The rest of it is due now, so the scheduler may have queued it already.
    assert_ne!(house.schedule(&anna, "incoming", "state").await, "running");
    let sessions = "select count(*) from sessions where ended_at is null and slots > 0";
    assert_eq!(house.installation.count(sessions).await, 0);
    // Its lease is given back: the next worker goes on at once.
    pop3.delay(Duration::ZERO);
    let mut worker = house.installation.start("worker");
    house.received(&anna, 40).await;
    assert_eq!(worker.terminate().await.code(), Some(0), "{}", worker.log());

    // The second signal does not wait: others go on from what is committed.
    for number in 40..80 {
        house.deliver(&anna, &format!("Message {number}"), 4000);
    }
    pop3.delay(Duration::from_millis(40));
    let mut worker = house.installation.start("worker");
    house.api.sync(&anna, "incoming").await;
    lockstep_tests::until("some more are received", async || {
        let count = house.receipts(&anna).await;
        if count > 40 { Ok(()) } else { Err(format!("{count}")) }
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
    house.received(&anna, 80).await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 80);
}

async fn some_are_received(house: &House) {
    lockstep_tests::until("some messages are received", async || {
        let count = house.installation.count("select count(*) from receipts").await;
        if count > 0 { Ok(()) } else { Err("none are") }
    })
    .await;
}

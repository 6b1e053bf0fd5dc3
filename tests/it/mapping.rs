//! Mailboxes that change their server and their owner, on real servers.

use lockstep_tests::{MailProfile, until};
use serde_json::json;
use servers::MailServers;

use crate::house::{House, PASSWORD, message};

#[tokio::test]
async fn a_mailbox_that_moves_to_another_server_creates_no_record_twice() {
    let (house, _process) = House::whole().await;
    let anna = house.enabled("anna").await;
    let letters: Vec<String> = (0..12)
        .map(|number| message(&house.address("sender"), &anna.address, &format!("Letter {number}"), 500))
        .collect();
    for letter in &letters {
        house.installation.servers.mail.deliver(&anna.address, letter.as_bytes());
    }
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 12).await;

    // The provider moved house: the same mails, under the names that another server gives them, and one that is new.
    let other = MailServers::start().await;
    other.add_mailbox(&anna.address, PASSWORD);
    for letter in letters.iter().rev() {
        other.deliver(&anna.address, letter.as_bytes());
    }
    let fresh = message(&house.address("sender"), &anna.address, "After the move", 500);
    other.deliver(&anna.address, fresh.as_bytes());
    let elsewhere = house.api.profile(&MailProfile::of(&other).with("name", "the new one")).await;
    let told = house.api.get(&format!("/profiles/{}/deletion", house.profile)).await;
    assert!(told["refused"]["cause"].as_str().unwrap().contains("1 mailbox still uses"), "{told:#}");
    let path = format!("/mailboxes/{}", anna.id);
    let moved = house.api.patch(&path, &json!({"profile": elsewhere})).await.body;
    assert_eq!(moved["approval"], "approved", "its address is the same");
    for workload in ["incoming", "outgoing"] {
        let shown = house.api.workload(&anna, workload).await;
        assert_eq!((&shown["enabled"], &shown["test"]["result"]), (&json!(false), &json!("not_run")));
    }
    house.api.enable(&anna).await;
    house.api.sync(&anna, "incoming").await;

    house.received(&anna, 13).await;
    let items = house.api.list(&format!("/mailboxes/{}/items", anna.id)).await;
    let decided = |decision: &str| items.iter().filter(|item| item["decision"] == decision).count();
    assert_eq!((decided("recorded"), decided("duplicate")), (13, 12), "{items:#?}");
    assert_eq!(house.installation.count("select count(*) from emails").await, 13);
    let folders = "select count(distinct folder) from mailbox_items";
    assert_eq!(house.installation.count(folders).await, 2, "items are named within a login of a server");

    // And nothing keeps the old profile now.
    let told = house.api.get(&format!("/profiles/{}/deletion", house.profile)).await;
    assert_eq!(told["refused"], json!(null));
    let gone = house.api.ask(reqwest::Method::DELETE, &format!("/profiles/{}", house.profile), None).await;
    assert_eq!(gone.status, 204, "{:#}", gone.body);
}

#[tokio::test]
async fn a_mailbox_removed_in_the_middle_of_a_cycle_stops_it_and_keeps_what_was_recorded() {
    use std::time::Duration;
    let installation = lockstep_tests::Installation::new().await.with("cycle.batch_items", 5);
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let pop3 = servers::CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..60 {
        house.deliver(&anna, &format!("Message {number}"), 3000);
    }
    pop3.delay(Duration::from_millis(40));
    house.api.sync(&anna, "incoming").await;
    until("some are fetched", async || {
        let count = house.receipts(&anna).await;
        if count >= 5 { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await;
    let told = house.api.get(&format!("/mailboxes/{}/deletion", anna.id)).await;
    let running =
        told["goes"].as_array().unwrap().iter().find(|part| part["what"] == "running cycles").unwrap();
    assert_eq!(running["count"], 1, "{told:#}");
    let gone = house.api.ask(reqwest::Method::DELETE, &format!("/mailboxes/{}", anna.id), None).await;
    assert_eq!(gone.status, 204, "{:#}", gone.body);
    let kept = house.receipts(&anna).await;
    assert!((5..60).contains(&kept), "removed in the middle: {kept}");
    until("the worker lets go of the server", async || {
        if pop3.current() == 0 { Ok(()) } else { Err("it is connected") }
    })
    .await;
    assert_eq!(house.receipts(&anna).await, kept, "nothing was committed after it");
    assert_eq!(house.api.list("/emails").await.len(), usize::try_from(kept).unwrap());

    // Mapped anew it gets the rest, and what it had is no second record.
    pop3.delay(Duration::ZERO);
    let again = house.api.mailbox(&house.profile, anna.owner.clone(), &anna.address, PASSWORD).await;
    house.api.enable(&again).await;
    house.api.sync(&again, "incoming").await;
    house.received(&again, 60).await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 60);
}

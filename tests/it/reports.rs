//! Delivery reports from a real mail server: what it took first and could not deliver comes back, and the email says so.

use lockstep_tests::{Mailbox, until};
use serde_json::{Value, json};

use crate::house::House;

/// Reads the sender's mailbox until the email's recipients stand like this.
async fn reported(house: &House, sender: &Mailbox, email: &str, states: &[&str]) -> Value {
    until(&format!("the recipients are {states:?}"), async || {
        house.api.sync(sender, "incoming").await;
        let shown = house.api.get(&format!("/emails/{email}")).await;
        let recipients = shown["sending"]["recipients"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = recipients.iter().map(|one| one["state"].as_str().unwrap_or("")).collect();
        if found == states { Ok(shown.clone()) } else { Err(format!("{found:?}")) }
    })
    .await
}

#[tokio::test]
async fn an_email_that_comes_back_is_not_called_sent() {
    let (house, _process) = House::whole().await;
    let anna = house.enabled("anna").await;
    let (there, nobody) = (house.address("there"), house.address("nobody"));
    house.installation.servers.mail.add_mailbox(&there, "outside");

    // To somebody and to nobody: Postfix takes both, and one comes back.
    let draft = json!({
        "from": anna.id,
        "to": [{"address": there}, {"address": nobody}],
        "subject": "To two",
        "text": "Hello.",
    });
    let both = house.api.post("/emails", &draft).await.id();
    house.api.send(&both, &["sent"]).await;
    let shown = reported(&house, &anna, &both, &["accepted", "bounced"]).await;
    assert_eq!(shown["state"], "sent", "one of them got it");
    let report = &shown["sending"]["recipients"][1]["report"];
    assert_eq!(report["action"], "failed");
    assert_eq!(report["status"], "5.1.1", "{report:#}");
    assert!(report["said"].as_str().unwrap().contains("nobody@"), "{report:#}");
    assert!(shown["sending"]["recipients"][1]["server_said"].is_string(), "what our server said stays");
    let alerts = house.api.alerts("recipient_bounced").await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!((&alerts[0]["email"], &alerts[0]["count"]), (&shown["id"], &json!(1)));

    // To nobody alone: the email failed.
    let alone = house.draft(&anna, &nobody, "To nobody").await;
    house.api.send(&alone, &["sent", "failed"]).await;
    let shown = reported(&house, &anna, &alone, &["bounced"]).await;
    assert_eq!(shown["state"], "failed");

    // The reports belong to the emails and are in nobody's list; their raw messages are kept.
    assert_eq!(house.api.list("/emails?direction=incoming").await.len(), 0);
    let [report] = shown["reports"].as_array().unwrap().as_slice() else { panic!("{shown:#}") };
    let path = format!("/emails/{alone}/reports/{}/raw", report["id"].as_str().unwrap());
    let raw = String::from_utf8(house.api.download(&path).await).unwrap();
    assert!(raw.contains("multipart/report") && raw.contains("To nobody"), "{raw}");
    let items = house
        .installation
        .count("select count(*) from mailbox_items where decision = 'recorded' and rule = 'delivery_report'")
        .await;
    assert_eq!(items, 2, "and each has its decision");
}

#[tokio::test]
async fn a_report_is_handled_in_a_mailbox_that_takes_no_mail_from_strangers() {
    let (house, _process) = House::whole().await;
    let (anna, bert) = (house.person("anna").await, house.enabled("bert").await);
    house.api.patch(&format!("/mailboxes/{}", anna.id), &json!({"acceptance": "none"})).await;
    house.api.enable(&anna).await;
    let email = house.draft(&anna, &house.address("nobody"), "Into the void").await;
    house.api.send(&email, &["sent", "failed"]).await;
    let bounce = house.arrived(&anna.address, 1).await.remove(0);

    // The same report in a mailbox that did not send the email says nothing of it.
    house.installation.servers.mail.deliver(&bert.address, bounce.as_bytes());
    house.api.sync(&bert, "incoming").await;
    house.received(&bert, 1).await;
    reported(&house, &anna, &email, &["bounced"]).await;
    assert_eq!(house.receipts(&anna).await, 0, "a report is not accepted as mail, it is handled");
    assert_eq!(house.installation.count("select count(*) from reports").await, 1);
}

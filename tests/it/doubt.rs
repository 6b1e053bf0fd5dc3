//! A network that loses everything, goodbyes too: the mail server goes on counting, and so does Lockstep.

use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, Mailbox, until};
use serde_json::{Value, json};
use servers::CountingProxy;

use crate::house::House;

/// For how long the server goes on counting a client that says nothing.
const IDLE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_slot_stays_charged_while_the_server_may_count_its_connection() {
    let installation = Installation::new()
        .await
        .with("cycle.phase_seconds", 2)
        .with("cycle.pop3_in_doubt_seconds", i64::try_from(IDLE.as_secs()).unwrap());
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile =
        MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls").with("max_in_flight", 1);
    let house = House::furnish(installation, &profile).await;
    let (anna, bert) = (house.enabled("anna").await, house.enabled("bert").await);
    for mailbox in [&anna, &bert] {
        house.scheduled(mailbox, "incoming", "state", "idle").await;
        house.deliver(mailbox, "hello", 0);
    }
    pop3.reset();

    // In the middle of Anna's cycle the network begins to lose everything on this connection, and on no other.
    pop3.delay(Duration::from_millis(200));
    house.api.sync(&anna, "incoming").await;
    until("the cycle is connected", async || {
        if pop3.behind() == 1 && pop3.total() == 1 { Ok(()) } else { Err(format!("{} are", pop3.behind())) }
    })
    .await;
    pop3.sever(IDLE);
    pop3.delay(Duration::ZERO);
    failed(&house, &anna).await;
    let shown = leases(&house).await;
    assert_eq!(shown["in_doubt"].as_array().map(Vec::len), Some(1), "{shown:#}");
    assert_eq!(shown["in_doubt"][0]["mailbox"], anna.id.as_str(), "{shown:#}");

    // Nobody else connects before the server has closed, whatever is due, and were the server taken for a good one.
    house.installation.execute("delete from endpoints").await;
    house.api.sync(&bert, "incoming").await;
    house.received(&bert, 1).await;
    assert_eq!(pop3.most_behind(), 1, "the server counted one connection too many");
    until("the server has closed it, and Bert his", async || match pop3.behind() {
        0 => Ok(()),
        count => Err(format!("it counts {count}")),
    })
    .await;
    until("nothing is held or in doubt any more", async || {
        let shown = leases(&house).await;
        if shown["limits"] == json!([]) && shown["in_doubt"] == json!([]) {
            Ok(())
        } else {
            Err(format!("{shown:#}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_only_slow_to_close_loses_no_slot_for_its_idle_time() {
    let installation = Installation::new().await.with("cycle.phase_seconds", 2);
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile =
        MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls").with("max_in_flight", 1);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    // Slower than a phase may take and than anybody waits for its end; the ends of the connection pass in their time.
    pop3.delay(Duration::from_secs(8));
    house.api.sync(&anna, "incoming").await;
    failed(&house, &anna).await;
    let shown = leases(&house).await;
    assert_eq!(shown["in_doubt"].as_array().map(Vec::len), Some(1), "{shown:#}");
    until("the server was heard in the end", async || {
        let shown = leases(&house).await;
        if shown["limits"] == json!([]) { Ok(()) } else { Err(format!("{shown:#}")) }
    })
    .await;
}

async fn failed(house: &House, mailbox: &Mailbox) {
    until("the cycle fails", async || {
        let outcome = house.schedule(mailbox, "incoming", "last_outcome").await;
        if outcome.starts_with("failed") { Ok(()) } else { Err(outcome) }
    })
    .await;
}

async fn leases(house: &House) -> Value {
    let listed = house.installation.run(&["leases", "list", "--json"]).await;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    serde_json::from_slice(&listed.stdout).expect("JSON")
}

//! An Exchange mailbox from the administrator's first call to the mail that is recorded.

use ::exchange::{Exchange, Fault, Options, Rule};
use lockstep_tests::{Installation, MailProfile, Process, until};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD};

async fn house(server: &Exchange) -> (House, Process) {
    let installation = Installation::new().await;
    let process = installation.start_all().await;
    let profile = MailProfile::of_json(json!({
        "name": "exchange",
        "credentials_on": "mailbox",
        "exchange": {"url": server.url()},
        "ca_certificate": server.ca_pem(),
    }));
    (House::furnish(installation, &profile).await, process)
}

pub(crate) fn message(number: usize, to: &str) -> Vec<u8> {
    format!(
        "Message-ID: <{number}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\nFrom: <sender@elsewhere.example>\r\n\
         To: <{to}>\r\nSubject: Message {number}\r\n\r\nBody {number}\r\n"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_of_an_exchange_mailbox_comes_in_and_a_pause_is_shown_with_its_reason() {
    let server = Exchange::start(Options::default()).await;
    let (house, _process) = house(&server).await;
    let shown = house.api.get(&format!("/profiles/{}", house.profile)).await;
    assert_eq!(
        (shown["kind"].as_str(), shown["exchange"]["access"].as_str()),
        (Some("exchange_ews"), Some("own"))
    );
    let address = house.address("anna");
    server.add_mailbox(&address, "Anna", PASSWORD);
    let owner = house.api.user(&address).await;
    let anna = house.api.mailbox(&house.profile, owner, &address, PASSWORD).await;
    house.api.enable(&anna).await;
    for number in 0..30 {
        server.deliver(&address, &message(number, &address));
    }
    house.api.sync(&anna, "incoming").await;
    let received = "select count(*) from emails where direction = 'incoming'";
    until("30 messages are recorded", async || match house.installation.count(received).await {
        30 => Ok(()),
        some => Err(some.to_string()),
    })
    .await;

    // It asks to be left alone: the workload says so, and nobody calls it a failure.
    server.fault(Rule::new(Fault::Status(503, Some(120))));
    house.api.sync(&anna, "incoming").await;
    let paused = until("the pause is shown", async || {
        let incoming = house.api.workload(&anna, "incoming").await;
        if incoming.to_string().contains("server_asked") {
            Ok(incoming)
        } else {
            Err(format!("{incoming:#}"))
        }
    })
    .await;
    assert_eq!(paused["enabled"], true, "{paused:#}");
    assert_eq!(house.api.alerts("server_busy").await, [] as [Value; 0]);
    server.heal();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_mailbox_or_anothers_is_refused_by_the_test_and_anothers_is_taken_by_force_alone() {
    let server = Exchange::start(Options::default()).await;
    let (house, _process) = house(&server).await;
    let (address, alias) = (house.address("bert"), house.address("bert.other"));
    server.add_mailbox(&address, "Bert", PASSWORD);
    server.add_alias(&address, &alias);
    let owner = house.api.user(&alias).await;
    let bert = house.api.mailbox(&house.profile, owner, &alias, PASSWORD).await;
    house
        .api
        .put(
            &format!("/mailboxes/{}/credential", bert.id),
            &json!({"username": address, "password": PASSWORD}),
        )
        .await;
    let job = house.api.test(&bert).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    let alerts = house.api.alerts("not_a_mailbox").await;
    assert!(!alerts.is_empty() && alerts[0]["remedy"].as_str().unwrap().contains(&address), "{alerts:#?}");

    // Corrected, it is ours: its owner's mark lies at the server.
    let changed = json!({"address": address});
    house.api.patch(&format!("/mailboxes/{}", bert.id), &changed).await;
    house.api.post(&format!("/mailboxes/{}/approve", bert.id), &json!({})).await;
    let job = house.api.test(&bert).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert!(job.to_string().contains("marked as synchronized by this organization"), "{job:#}");
    assert_eq!(house.api.alerts("not_a_mailbox").await, [] as [Value; 0]);

    // Another installation's mark: as if this one had been set up anew on the same mailboxes.
    house.installation.execute("update installation set id = gen_random_uuid()").await;
    let job = house.api.test(&bert).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert!(!house.api.alerts("mailbox_claimed").await.is_empty());
    let started = house.api.post("/mailboxes/test", &json!({"mailboxes": [bert.id], "force": true})).await;
    let job = house.api.job(started.body["jobs"][0]["job"].as_str().unwrap()).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let written = house.api.list(&format!("/changes?record_type=mailbox&record_id={}", bert.id)).await;
    assert!(written.iter().any(|change| change.to_string().contains("owner_mark")), "{written:#?}");
}

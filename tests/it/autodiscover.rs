//! Exchange mailboxes whose server nobody names: found when they are tested, kept, found again when they move, and never at the
//! price of a password that somebody hears who may not.

use ::exchange::{Exchange, Fault, Offer, Options, Rule};
use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use serde_json::json;

use crate::house::{House, PASSWORD};

/// Where a server tells where mailboxes are.
fn start(server: &Exchange) -> String {
    format!("https://localhost:{}/autodiscover/autodiscover.svc", server.port)
}

async fn house(asked: &Exchange, other: &Exchange) -> (House, Process) {
    let installation = Installation::new().await;
    let process = installation.start_all().await;
    let profile = MailProfile::of_json(json!({
        "name": "found",
        "kind": "exchange_ews",
        "credentials_on": "mailbox",
        "exchange": {"autodiscover_url": start(asked)},
        "ca_certificate": format!("{}{}", asked.ca_pem(), other.ca_pem()),
    }));
    (House::furnish(installation, &profile).await, process)
}

async fn person(house: &House, name: &str, at: &[&Exchange]) -> Mailbox {
    let address = house.address(name);
    for server in at {
        server.add_mailbox(&address, name, PASSWORD);
    }
    let owner = house.api.user(&address).await;
    house.api.mailbox(&house.profile, owner, &address, PASSWORD).await
}

fn message(number: usize, to: &str) -> Vec<u8> {
    format!(
        "Message-ID: <{number}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\nFrom: <sender@elsewhere.example>\r\n\
         To: <{to}>\r\nSubject: Message {number}\r\n\r\nBody {number}\r\n"
    )
    .into_bytes()
}

/// How often a server was asked where a mailbox is and answered.
fn told(server: &Exchange) -> usize {
    server
        .requests()
        .iter()
        .filter(|request| request.operation == "GetUserSettings" && request.status == 200)
        .count()
}

/// Syncs now, and waits until that cycle is over.
async fn synced(house: &House, mailbox: &Mailbox) {
    let before = house.schedule(mailbox, "incoming", "last_finished_at").await;
    house.api.sync(mailbox, "incoming").await;
    until("the cycle ends", async || match house.schedule(mailbox, "incoming", "last_finished_at").await {
        after if after != before => Ok(()),
        same => Err(same),
    })
    .await;
}

/// As if an hour had passed for everything that waits for a time; the sessions of what runs stay alive.
async fn an_hour_later(house: &House) {
    for statement in [
        "update schedules set not_before = null",
        "update endpoints set open_until = now() where open_until is not null",
        "update found_services set asked_at = asked_at - interval '1 hour'",
    ] {
        house.installation.execute(statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_whose_server_nobody_names_is_found_once_and_again_when_it_moves() {
    let (server, other) =
        (Exchange::start(Options::default()).await, Exchange::start(Options::default()).await);
    let (house, _process) = house(&server, &other).await;
    // Another server has other ids for everything.
    other.add_mailbox("somebody@example.org", "Somebody", PASSWORD);
    let anna = person(&house, "anna", &[&server, &other]).await;
    let job = house.api.test(&anna).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert!(job.to_string().contains(&server.url()), "{job:#}");
    for number in 0..3 {
        server.deliver(&anna.address, &message(number, &anna.address));
        synced(&house, &anna).await;
    }
    house.received(&anna, 3).await;
    let email = house.draft(&anna, &house.address("nobody"), "Found").await;
    house.api.ask_to_send(&email).await;
    until("the mail leaves", async || match server.handed().len() {
        1 => Ok(()),
        some => Err(some.to_string()),
    })
    .await;
    // Tested twice, four cycles since: looked for once.
    assert_eq!(told(&server), 1);
    let shown = house.api.get(&format!("/mailboxes/{}", anna.id)).await;
    assert_eq!(shown["web_service"]["url"], server.url(), "{shown:#}");
    assert!(shown["web_service"]["told_by"].as_str().unwrap().ends_with("autodiscover.svc"), "{shown:#}");

    // A server that is only out of order is no reason to look elsewhere.
    server.fault(Rule::new(Fault::Status(500, None)).on("SyncFolderItems"));
    synced(&house, &anna).await;
    an_hour_later(&house).await;
    synced(&house, &anna).await;
    assert_eq!(told(&server), 1);
    server.heal();

    // It has moved: nothing is there any more, and whoever knows says where it is now.
    server.fault(Rule::new(Fault::Status(404, None)).on("SyncFolderItems"));
    server.redirect_url(&anna.address, &start(&other));
    other.deliver(&anna.address, &message(7, &anna.address));
    an_hour_later(&house).await;
    synced(&house, &anna).await;
    an_hour_later(&house).await;
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 4).await;
    assert_eq!((told(&server), told(&other)), (2, 1));
    let shown = house.api.get(&format!("/mailboxes/{}", anna.id)).await;
    assert_eq!(shown["web_service"]["url"], other.url(), "{shown:#}");
    let written = house.api.list(&format!("/changes?record_type=mailbox&record_id={}", anna.id)).await;
    assert_eq!(written.iter().filter(|change| change.to_string().contains("web_service")).count(), 2);
    // What was said of the server that was left is settled.
    let left = format!("select count(*) from endpoints where endpoint like '%:{}'", server.port);
    assert_eq!(house.installation.count(&left).await, 0);
    let open = "select count(*) from alerts where resolved_at is null and kind <> 'mailbox_enabled'";
    until("nothing is said any more", async || match house.installation.count(open).await {
        0 => Ok(()),
        some => Err(some.to_string()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_nobody_allowed_hears_no_password_before_an_administrator_consents() {
    let server = Exchange::start(Options::default()).await;
    // It would take the password as it is.
    let foreign = Exchange::start(Options { offers: vec![Offer::Basic], ..Options::default() }).await;
    let (house, _process) = house(&server, &foreign).await;
    let bert = person(&house, "bert", &[&server, &foreign]).await;
    let there = format!("https://127.0.0.1:{}/autodiscover/autodiscover.svc", foreign.port);
    server.redirect_url(&bert.address, &there);
    for _ in 0..2 {
        let job = house.api.test(&bert).await;
        assert_eq!(job["state"], "failed", "{job:#}");
    }
    assert!(foreign.requests().is_empty(), "nothing is said to it at all");
    let alerts = house.api.alerts("host_consent_needed").await;
    assert!(alerts[0]["happened"].as_str().unwrap().contains("127.0.0.1"), "{alerts:#?}");
    let remedy = alerts[0]["remedy"].as_str().unwrap();
    assert!(remedy.contains("lockstep profile allow-host found 127.0.0.1"), "{remedy}");

    let profile = format!("/profiles/{}", house.profile);
    let with = |hosts: &[&str]| json!({"exchange": {"autodiscover_url": start(&server), "hosts": hosts}});
    house.api.patch(&profile, &with(&["127.0.0.1"])).await;
    let job = house.api.test(&bert).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert!(foreign.requests().iter().any(|request| request.login == bert.address));
    assert_eq!(house.api.alerts("host_consent_needed").await, [] as [serde_json::Value; 0]);
    let changes = house.api.list(&format!("/changes?record_type=profile&record_id={}", house.profile)).await;
    assert!(changes.iter().any(|change| change.to_string().contains("127.0.0.1")), "{changes:#?}");
    let consented = house.api.get(&profile).await;
    assert_eq!(consented["exchange"]["hosts"], json!(["127.0.0.1"]));

    // Taken back, it hears nothing more, and the mailbox waits for a test.
    house.api.patch(&profile, &with(&[])).await;
    assert_eq!(house.api.workload(&bert, "incoming").await["enabled"], false);
    let heard = foreign.requests().len();
    let job = house.api.test(&bert).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(foreign.requests().len(), heard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_out_of_tls_and_who_is_unknown_fail_the_test_with_a_remedy() {
    let (server, other) =
        (Exchange::start(Options::default()).await, Exchange::start(Options::default()).await);
    let (house, _process) = house(&server, &other).await;
    let carl = person(&house, "carl", &[&server, &other]).await;
    server.redirect_url(
        &carl.address,
        &format!("http://localhost:{}/autodiscover/autodiscover.svc", other.port),
    );
    let job = house.api.test(&carl).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert!(other.requests().is_empty());
    let alerts = house.api.alerts("autodiscover_failed").await;
    let said = alerts[0].to_string();
    assert!(said.contains("not https") && said.contains("--exchange URL"), "{alerts:#?}");

    // Without anybody named, the servers of the mailbox's own domain are asked; this one has none.
    house.api.patch(&format!("/profiles/{}", house.profile), &json!({"exchange": {}})).await;
    let job = house.api.test(&carl).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert!(job.to_string().contains(&house.domain), "{job:#}");
    // Whoever is asked does not know the address.
    let stranger = person(&house, "dora", &[]).await;
    house
        .api
        .patch(
            &format!("/profiles/{}", house.profile),
            &json!({"exchange": {"autodiscover_url": start(&server)}}),
        )
        .await;
    let job = house.api.test(&stranger).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    // Somebody who is nobody there cannot sign in there.
    assert!(!house.api.alerts("sign_in_refused").await.is_empty(), "{job:#}");
}

//! Async jobs: what a person changes while one runs, a request that no coordinator takes, Postgres away at the wrong
//! moment, and a change of the key that secrets are sealed with.

use base64::Engine as _;
use lockstep_tests::{Installation, MailProfile, Mailbox, command, until};
use serde_json::json;
use servers::{Fault, Gate};

use crate::house::House;

/// A house whose mail is read through a gate, with Anna in it.
async fn behind_a_gate(installation: Installation) -> (Gate, House, Mailbox) {
    let mail = &installation.servers.mail;
    let gate = Gate::start(mail.pop3s_port, mail.ca_pem()).await;
    let profile = MailProfile::of(mail)
        .incoming("localhost", gate.port(), "implicit")
        .with("ca_certificate", format!("{}{}", gate.ca_pem(), mail.ca_pem()));
    let house = House::furnish(installation, &profile).await;
    let anna = house.person("anna").await;
    (gate, house, anna)
}

/// Starts the test of a mailbox, and returns its job when the gate before the server holds it up at the password.
async fn held_at(gate: &Gate, house: &House, mailbox: &Mailbox) -> String {
    gate.set(Fault::Hold(2));
    let started = house.api.post(&format!("/mailboxes/{}/test", mailbox.id), &json!({})).await.body;
    gate.reached().await;
    gate.set(Fault::None);
    started["jobs"][0]["job"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_password_that_is_changed_during_a_test_is_what_the_result_is_about() {
    let installation = Installation::new().await;
    let _process = installation.start_all().await;
    let (gate, house, anna) = behind_a_gate(installation).await;
    // The password that the test is about to say is wrong by the time it is said, and the right one is stored meanwhile.
    let job = held_at(&gate, &house, &anna).await;
    house.installation.servers.mail.set_password(&anna.address, "another");
    let credential = json!({"username": anna.address, "password": "another"});
    house.api.put(&format!("/mailboxes/{}/credential", anna.id), &credential).await;
    gate.go_on();
    let ended = until("the job ends", async || {
        let job = house.api.get(&format!("/jobs/{job}")).await;
        if job["ended_at"].is_null() { Err(job.to_string()) } else { Ok(job) }
    })
    .await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let mailbox = house.api.get(&format!("/mailboxes/{}", anna.id)).await;
    for workload in mailbox["workloads"].as_array().unwrap() {
        assert_ne!(workload["test"]["result"], "failure", "{mailbox:#}");
    }
    assert_eq!(house.installation.count("select count(*) from alerts where resolved_at is null").await, 0);
}

#[tokio::test]
async fn a_test_that_is_canceled_while_the_server_is_asked_enables_nothing() {
    let installation = Installation::new().await;
    let process = installation.start_all().await;
    let (gate, house, anna) = behind_a_gate(installation).await;
    let job = held_at(&gate, &house, &anna).await;
    house.api.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
    gate.go_on();
    until("the job stops", async || {
        let log = process.log();
        if log.contains("the job was withdrawn or is somebody else's") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(house.api.get(&format!("/jobs/{job}")).await["state"], "canceled");
    let sql = "select count(*) from mailbox_workloads where enabled or test_result <> 'not_run'";
    assert_eq!(house.installation.count(sql).await, 0);
    // Asked for again it does all of it.
    house.api.post(&format!("/jobs/{job}/retry"), &json!({})).await;
    until("both are enabled", async || {
        let job = house.api.get(&format!("/jobs/{job}")).await;
        if job["state"] == "succeeded" { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    assert_eq!(house.installation.count(sql).await, 2);
}

#[tokio::test]
async fn a_job_that_ends_while_postgres_is_away_is_ended_when_it_is_back() {
    let servers = lockstep_tests::Servers::start().await.unwrap();
    let installation = Installation::on(servers).await;
    let process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let gate = Gate::start(mail.submissions_port, mail.ca_pem()).await;
    let profile = MailProfile::of(mail)
        .outgoing("localhost", gate.port(), "implicit")
        .with("ca_certificate", format!("{}{}", gate.ca_pem(), mail.ca_pem()));
    let house = House::furnish(installation, &profile).await;
    let anna = house.person("anna").await;
    let job = held_at(&gate, &house, &anna).await;
    house.installation.servers.postgres.stop().await;
    gate.go_on();
    until("the job's end is tried in vain", async || {
        let log = process.log();
        if log.contains("the database did not answer about the end of a job, trying again") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    house.installation.servers.postgres.start_again().await;
    let ended = until("the job ends", async || {
        let answer = house.api.ask(reqwest::Method::GET, &format!("/jobs/{job}"), None).await;
        if answer.status.is_success() && !answer.body["ended_at"].is_null() {
            Ok(answer.body)
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
}

#[tokio::test]
async fn after_a_rotation_everything_opens_and_the_old_key_can_go() {
    let installation = Installation::new().await;
    let process = installation.start_all().await;
    let profile = MailProfile::of(&installation.servers.mail);
    let mut house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.enabled("bert").await;
    let me = house.api.get("/me").await;
    let key = house.api.post("/keys", &json!({"name": "cli", "user": me["user"]["id"]})).await;
    let secret = key.body["key"].as_str().unwrap().to_owned();

    // The new key in front, the old one behind it.
    drop(process);
    let old = house.installation.configuration.get("secrets.key_ring").unwrap().to_owned();
    let new = format!("next:{}", base64::prelude::BASE64_STANDARD.encode([7; 32]));
    house.installation.configuration.set("secrets.key_ring", format!("{new}\n{old}"));
    let process = house.installation.start_all().await;
    let sealed_with = "select count(*) from credentials where sealed_with = ";
    assert_eq!(house.installation.count(&format!("{sealed_with}'test'")).await, 2);
    let url = house.installation.url();
    let configuration =
        house.installation.configuration.clone().with("client.url", url).with("client.key", secret.as_str());
    let file = house.installation.file("cli.toml");
    configuration.write(&file);
    // One secret is in use: the job keeps no slot while it waits for that, and knows what it has done.
    let sql = house.installation.sql().await;
    sql.batch_execute("begin; select from credentials order by id desc limit 1 for update").await.unwrap();
    let mut rotating = command(&["job", "rotate-keys", "--wait"], &file);
    let rotating = tokio::spawn(async move { rotating.output().await.unwrap() });
    until("it waits for its turn", async || {
        let waiting =
            "select count(*) from jobs where kind = 'key_rotation' and state = 'waiting' and cursor = '1'";
        if house.installation.count(waiting).await == 1 { Ok(()) } else { Err("it does not") }
    })
    .await;
    sql.batch_execute("rollback").await.unwrap();
    let output = rotating.await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("2 secrets sealed again"), "{:?} {said}", output.status);
    assert_eq!(house.installation.count(&format!("{sealed_with}'next'")).await, 2);

    // Without the old key.
    drop(process);
    house.installation.configuration.set("secrets.key_ring", new);
    let _process = house.installation.start_all().await;
    house.deliver(&anna, "after the rotation", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
}

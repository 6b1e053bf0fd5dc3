//! Profiles that cannot work: each is a kind of alert of its own, with a remedy, and switches nothing on.

use lockstep_tests::{Installation, MailProfile};
use serde_json::{Value, json};
use servers::CountingProxy;

use crate::house::{House, PASSWORD};

#[tokio::test]
async fn each_wrong_profile_gets_an_alert_of_its_own_kind() {
    let installation = Installation::new().await.with("cycle.phase_seconds", 3);
    let _process = installation.start_all().await;
    let good = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &good).await;
    let mail = &house.installation.servers.mail;
    let nobody = CountingProxy::start("127.0.0.1:1").await;
    nobody.refuse(true);
    let silent = CountingProxy::start("127.0.0.1:1").await;
    silent.blackhole(true);
    let (start_tls, implicit) = (mail.pop3_port, mail.pop3s_port);
    let wrong = [
        ("connection_refused", good.clone().incoming("localhost", nobody.port(), "start_tls")),
        (
            "connection_timed_out",
            good.clone().incoming("localhost", silent.port(), "implicit").with("connect_timeout_ms", 500),
        ),
        ("tls_mismatch", good.clone().incoming("localhost", start_tls, "implicit")),
        ("tls_mismatch", good.clone().incoming("localhost", implicit, "start_tls")),
        ("tls_mismatch", good.clone().outgoing("localhost", mail.submission_port, "implicit")),
        ("certificate_not_trusted", good.clone().with("ca_certificate", Value::Null)),
    ];
    for (number, (kind, profile)) in wrong.into_iter().enumerate() {
        let address = house.address(&format!("person{number}"));
        mail.add_mailbox(&address, PASSWORD);
        let profile = house.api.profile(&profile.with("name", format!("wrong {number}"))).await;
        let owner = house.api.user(&address).await;
        let mailbox = house.api.mailbox(&profile, owner, &address, PASSWORD).await;
        let job = house.api.test(&mailbox).await;
        assert_eq!(job["state"], "failed", "{kind}: {job:#}");
        let alerts = house.api.list(&format!("/alerts?mailbox={}", mailbox.id)).await;
        assert!(
            !alerts.is_empty() && alerts.iter().all(|alert| alert["kind"] == kind),
            "{kind} was expected: {alerts:#?}"
        );
        for alert in &alerts {
            let told = alert.to_string();
            assert!(!told.contains(PASSWORD), "{told}");
            assert!(
                alert["remedy"].as_str().unwrap().len() > 20
                    && alert["happened"].as_str().unwrap().contains("localhost")
            );
            assert!(!alert["happened"].as_str().unwrap().contains('?'), "a parameter is missing: {alert:#}");
        }
        assert_eq!(
            house
                .installation
                .count(&format!(
                    "select count(*) from schedules where mailbox_id = '{}' and workload = 'incoming' and due_at is not null",
                    mailbox.id
                ))
                .await,
            i64::from(kind == "tls_mismatch" && alerts.len() == 1 && job.to_string().contains("outgoing: tls")),
            "only what works is switched on: {job:#}"
        );
    }
}

#[tokio::test]
async fn a_closed_network_is_refused_when_a_profile_is_made_and_when_it_is_used() {
    let installation = Installation::new().await;
    // The API may still make the profile; whoever connects may not.
    let mut closed = installation.configuration.clone();
    closed.set("network.allow", toml::Value::Array(Vec::new()));
    closed.set("api.listen", "127.0.0.1:0");
    let mut process = installation.start("scheduler,coordinator,api");
    let _closed = installation.start_with("worker,jobs", &closed);
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.person("anna").await;
    let job = house.api.test(&anna).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    let alerts = house.api.alerts("network_forbidden").await;
    assert!(!alerts.is_empty(), "{job:#}");
    assert!(alerts[0]["remedy"].as_str().unwrap().contains("network.allow"), "{alerts:#?}");

    for (host, field) in [("10.1.2.3", "incoming.host"), ("169.254.169.254", "incoming.host")] {
        let profile = profile.clone().with("name", host).incoming(host, 995, "implicit");
        let refused = house.api.ask(reqwest::Method::POST, "/profiles", Some(profile.json())).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert_eq!(refused.body["field"], field);
        assert!(refused.body["remedy"].as_str().unwrap().contains("network.allow"), "{refused:?}");
    }
    let unresolvable =
        profile.clone().with("name", "nowhere").incoming("mail.nowhere.invalid", 995, "implicit");
    let refused = house.api.ask(reqwest::Method::POST, "/profiles", Some(unresolvable.json())).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["field"]),
        (422, &json!("incoming.host")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_certificate_is_trusted_once_the_profile_names_its_authority() {
    let (house, _process) = House::whole().await;
    let profile = MailProfile::of(&house.installation.servers.mail)
        .with("name", "strict")
        .with("ca_certificate", Value::Null);
    let profile = house.api.profile(&profile).await;
    let address = house.address("anna");
    house.installation.servers.mail.add_mailbox(&address, PASSWORD);
    let owner = house.api.user(&address).await;
    let anna = house.api.mailbox(&profile, owner, &address, PASSWORD).await;
    assert_eq!(house.api.test(&anna).await["state"], "failed");
    let alerts = house.api.alerts("certificate_not_trusted").await;
    assert_eq!(alerts.len(), 2, "one for each server: {alerts:#?}");
    assert!(
        alerts[0]["happened"].as_str().unwrap().contains("no trusted authority issued it"),
        "{alerts:#?}"
    );
    assert!(alerts[0]["remedy"].as_str().unwrap().contains("PEM"), "{alerts:#?}");

    let change = json!({"ca_certificate": house.installation.servers.mail.ca_pem()});
    house.api.patch(&format!("/profiles/{profile}"), &change).await;
    house.api.enable(&anna).await;
    assert!(house.api.alerts("certificate_not_trusted").await.is_empty(), "taken back");
    house.deliver(&anna, "trusted", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
}

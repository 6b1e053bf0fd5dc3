//! What must never be seen: a password that went in comes out nowhere.

use lockstep_tests::{Canary, Installation, MailProfile, Otlp};
use serde_json::json;

use crate::house::House;

const CANARY: &str = "Kanarienvogel-7391";

#[tokio::test]
async fn a_password_is_in_no_log_no_column_and_no_answer() {
    let otlp = Otlp::start().await;
    let installation =
        Installation::new().await.with("telemetry.log_level", "trace").with("telemetry.otlp_url", otlp.url());
    let mut process = installation.start_all().await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let api = &house.api;
    let address = house.address("anna");
    let canary = Canary::password("password", CANARY, &[&address]);
    let mail = &house.installation.servers.mail;
    mail.add_mailbox(&address, CANARY);
    let owner = api.user(&address).await;
    let anna = api.mailbox(&house.profile, owner, &address, CANARY).await;
    api.enable(&anna).await;
    let body = "The body of a letter nobody else should read";
    let subject = "A subject of its own";
    let draft = json!({"from": anna.id, "to": [{"address": address}], "subject": subject, "text": body});
    let email = api.post("/emails", &draft).await.id();
    api.send(&email, &["sent"]).await;
    house.arrived(&address, 1).await;
    api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    // Refused as well, and refused by the API.
    mail.set_password(&address, "another");
    api.sync(&anna, "incoming").await;
    house.scheduled(&anna, "incoming", "refusals", "1").await;
    api.test(&anna).await;
    let wrong = json!({"username": address, "password": CANARY, "surprise": 1});
    let refused =
        api.ask(reqwest::Method::PUT, &format!("/mailboxes/{}/credential", anna.id), Some(&wrong)).await;
    assert!(refused.status.is_client_error() && !canary.is_in(&refused.body.to_string()), "{refused:?}");
    let wrong = json!({"username": address, "password": {"it": CANARY}});
    let refused =
        api.ask(reqwest::Method::PUT, &format!("/mailboxes/{}/credential", anna.id), Some(&wrong)).await;
    assert!(refused.status.is_client_error() && !canary.is_in(&refused.body.to_string()), "{refused:?}");

    // No answer.
    for path in [
        "/me",
        "/keys",
        "/users",
        "/queues",
        "/profiles",
        "/mailboxes",
        "/emails",
        "/contacts",
        "/alerts?closed=true",
        "/jobs",
        "/settings",
        "/status",
    ] {
        let answer = api.ask(reqwest::Method::GET, path, None).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        assert!(!canary.is_in(&answer.body.to_string()), "{path}: {:#}", answer.body);
    }
    for path in [
        format!("/mailboxes/{}", anna.id),
        format!("/profiles/{}", house.profile),
        format!("/changes?record_id={}", anna.id),
        format!("/mailboxes/{}/items", anna.id),
    ] {
        let shown = api.get(&path).await.to_string();
        assert!(!canary.is_in(&shown) && !shown.contains("sealed"), "{shown}");
    }

    // No column: as text, in JSON, or as bytes; no dead letter, and not the ledger.
    assert_eq!(house.installation.keeps(&canary).await, [""; 0]);
    let said = "select count(*) from changes where fields::text like '%nobody else should read%'";
    assert_eq!(house.installation.count(said).await, 0, "no body in the log of changes");

    // No line of any log; nor the key, the address, the subject or the body.
    assert_eq!(process.terminate().await.code(), Some(0));
    let logs = house.installation.logs();
    assert!(!logs.is_empty());
    for (name, text) in logs {
        assert!(text.lines().count() > 5, "{name} says something: {text}");
        assert!(!canary.is_in(&text), "{name} tells the password");
        for secret in ["another", body, subject, address.as_str(), "lk_"] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{name} tells `{secret}`: {}", line.unwrap_or_default());
        }
    }
    // No trace and no metric.
    let spans = otlp.spans();
    assert!(spans.len() > 10, "{} spans", spans.len());
    assert!(
        !canary.is_in(&format!("{spans:?} {:?}", otlp.metrics())),
        "a trace or a metric tells the password"
    );
}

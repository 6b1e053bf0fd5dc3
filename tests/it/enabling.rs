//! Approve, then test and enable: one mailbox, several, or all of a profile.

use serde_json::{Value, json};

use crate::house::House;

fn jobs(started: &Value) -> Vec<String> {
    let jobs = started["jobs"].as_array().cloned().unwrap_or_default();
    jobs.iter().map(|job| job["job"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn nothing_is_processed_before_a_mailbox_is_approved_tested_and_enabled() {
    let (house, _process) = House::whole().await;
    let (api, address) = (&house.api, house.address("anna"));
    house.installation.servers.mail.add_mailbox(&address, crate::house::PASSWORD);
    let owner = api.post("/users", &json!({"name": "Anna", "address": address})).await.id();
    let new = json!({"address": address, "owner": {"kind": "user", "id": owner}, "profile": house.profile});
    let id = api.post("/mailboxes", &new).await.id();

    // Not approved, and without a password: each says what to do first.
    let refused = api.ask(reqwest::Method::POST, &format!("/mailboxes/{id}/test"), Some(&json!({}))).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.body["remedy"].as_str().unwrap().contains("approve"), "{refused:?}");
    let refused = api
        .ask(reqwest::Method::POST, &format!("/mailboxes/{id}/workloads/incoming/sync"), Some(&json!({})))
        .await;
    assert_eq!(refused.status, 409, "{refused:?}");
    api.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
    let started = api.post(&format!("/mailboxes/{id}/test"), &json!({})).await.body;
    let job = api.job(&jobs(&started)[0]).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert!(job["result"]["remedy"].as_str().unwrap().contains("set-password"), "{job:#}");
    assert_eq!(house.installation.count("select count(*) from schedules where due_at is not null").await, 0);

    let credential = json!({"username": address, "password": crate::house::PASSWORD});
    api.put(&format!("/mailboxes/{id}/credential"), &credential).await;
    let started = api.post(&format!("/mailboxes/{id}/test"), &json!({})).await.body;
    let job = api.job(&jobs(&started)[0]).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let steps: Vec<_> =
        job["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(steps, ["incoming: sign in", "incoming: list", "outgoing: sign in", "outgoing: send"]);
    assert!(house.installation.servers.mail.messages(&address).is_empty(), "a test sends nothing");
    let mailbox = api.get(&format!("/mailboxes/{id}")).await;
    for workload in mailbox["workloads"].as_array().unwrap() {
        let on = workload["workload"] != "act";
        assert_eq!(workload["enabled"], on, "{workload:#}");
        assert_eq!(workload["test"]["result"], if on { "success" } else { "not_run" }, "{workload:#}");
    }
}

#[tokio::test]
async fn several_are_tested_at_once_and_each_is_told_for_itself() {
    let (house, _process) = House::whole().await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let carl = house.person("carl").await;
    house.installation.servers.mail.set_password(&bert.address, "another");
    let wanted = json!({"mailboxes": [anna.id, bert.id]});
    let started = house.api.post("/mailboxes/test", &wanted).await.body;
    let mut states = Vec::new();
    for job in jobs(&started) {
        states.push(house.api.job(&job).await["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["succeeded", "failed"]);
    assert_eq!(house.api.workload(&anna, "incoming").await["enabled"], true);
    assert_eq!(house.api.workload(&bert, "incoming").await["enabled"], false);
    assert_eq!(house.api.workload(&bert, "incoming").await["test"]["result"], "failure");
    assert_eq!(house.api.workload(&carl, "incoming").await["test"]["result"], "not_run");
    let refused = house.api.alerts("sign_in_refused").await;
    assert!(
        !refused.is_empty() && refused.iter().all(|alert| alert["mailbox"] == bert.id.as_str()),
        "{refused:#?}"
    );

    // All of the profile, with the cause mended: what was told is taken back.
    house.installation.servers.mail.set_password(&bert.address, crate::house::PASSWORD);
    let started = house.api.post(&format!("/profiles/{}/test", house.profile), &json!({})).await.body;
    let job = house.api.job(started["id"].as_str().unwrap()).await;
    assert_eq!((&job["state"], &job["result"]["passed"]), (&json!("succeeded"), &json!(3)), "{job:#}");
    for mailbox in [&anna, &bert, &carl] {
        assert_eq!(house.api.workload(mailbox, "outgoing").await["enabled"], true);
    }
    assert!(house.api.alerts("sign_in_refused").await.is_empty());
}

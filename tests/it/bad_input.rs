//! Bad input: each is refused with the field, the cause and the remedy, and leaves nothing behind.

use lockstep_tests::{Answer, MailProfile};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::House;

/// That the answer is a problem about this field, said in full.
fn is_about(answer: &Answer, status: u16, field: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.body["field"], field, "{answer:?}");
    for said in ["detail", "remedy", "title", "type", "request_id"] {
        assert!(!answer.body[said].as_str().unwrap_or_default().is_empty(), "no {said}: {answer:?}");
    }
}

#[tokio::test]
async fn each_mistake_is_told_with_field_cause_and_remedy() {
    let (house, _process) = House::whole().await;
    let (api, anna) = (&house.api, house.enabled("anna").await);
    let mail = &house.installation.servers.mail;
    let post = async |path: &str, body: &Value| api.ask(Method::POST, path, Some(body)).await;

    let profile = MailProfile::of(mail).with("name", "wrong");
    for (field, wrong) in [
        ("incoming.port", profile.clone().incoming("localhost", 0, "implicit")),
        ("incoming.host", profile.clone().incoming("192.168.0.1", 995, "implicit")),
        ("outgoing.host", profile.clone().outgoing("mail.nowhere.invalid", 465, "implicit")),
        ("incoming.tls", profile.clone().incoming("localhost", 110, "none")),
        ("max_in_flight", profile.clone().with("max_in_flight", 0)),
        ("max_in_flight", profile.clone().with("max_in_flight", 65_537)),
        ("min_polling_minutes", profile.clone().with("min_polling_minutes", 1441)),
        ("connect_timeout_ms", profile.clone().with("connect_timeout_ms", 100_001)),
        ("surprise", profile.clone().with("surprise", 1)),
    ] {
        is_about(&post("/profiles", wrong.json()).await, 422, field);
    }
    is_about(&post("/users", &json!({"name": "Bert", "address": "no address"})).await, 422, "address");

    // Whose, and where.
    let second = json!({
        "address": house.address("second"),
        "owner": {"kind": "user", "id": owner(&house, &anna.id).await},
        "profile": house.profile,
    });
    let refused = post("/mailboxes", &second).await;
    is_about(&refused, 409, "owner");
    let mut unknown = second.clone();
    unknown["owner"] = Value::Null;
    unknown["profile"] = json!(model::clock::new_id::<uuid::Uuid>());
    is_about(&post("/mailboxes", &unknown).await, 422, "profile");

    // Sending.
    let bert = house.person("bert").await;
    let nobody =
        api.post("/emails", &json!({"from": anna.id, "subject": "To nobody", "text": "?"})).await.id();
    let service = api.service().await;
    let send = async |email: &str| {
        service.ask(reqwest::Method::POST, &format!("/emails/{email}/send"), Some(&json!({}))).await
    };
    is_about(&send(&nobody).await, 422, "to");
    is_about(&post(&format!("/emails/{nobody}/send"), &json!({})).await, 403, "from");
    let early = house.draft(&bert, &anna.address, "Not enabled yet").await;
    let refused = send(&early).await;
    is_about(&refused, 409, "from");
    assert!(refused.body["remedy"].as_str().unwrap().contains("enable"), "{refused:?}");
    let wrong = json!({"from": anna.id, "to": [{"address": "a@b@c"}]});
    assert!(post("/emails", &wrong).await.body["field"].as_str().unwrap().starts_with("to[0]"));

    // 60 MB against a limit of 25 MB.
    let draft = house.draft(&anna, &bert.address, "Large").await;
    let large = vec![7; 60 * 1024 * 1024];
    let path = format!("/emails/{draft}/attachments?name=large.bin");
    let refused = api.upload(&path, "application/octet-stream", large).await;
    assert_eq!(refused.status.as_u16(), 413, "{refused:?}");
    let said = refused.body.to_string();
    assert!(said.contains("25") && said.contains("60") && said.contains("max_message_mb"), "{said}");
    assert_eq!(house.installation.count("select count(*) from blobs where size > 30000000").await, 0);
    assert_eq!(house.installation.count("select count(*) from profiles").await, 1);
    assert_eq!(house.installation.count("select count(*) from send_requests").await, 0);
}

async fn owner(house: &House, mailbox: &str) -> String {
    house.api.get(&format!("/mailboxes/{mailbox}")).await["owner"]["id"]
        .as_str()
        .expect("an owner")
        .to_owned()
}

//! What the document promises of every operation that changes something: a repeated request is answered again and does
//! nothing, and a change of a record names the version that was read.

use serde_json::{Value, json};

use super::planted::{Caller, Planted, body};
use super::{Operation, operations};
use crate::api;
use crate::client::{Answer, answer};

/// Whoever the operation obeys.
fn obeyed(operation: &Operation) -> Caller {
    if operation.audience == "administrators" { Caller::Administrator } else { Caller::Owner }
}

async fn with_key(operation: &Operation, planted: &Planted, key: &str, changed: bool) -> Answer {
    let mut path = operation.filled(planted);
    let client = planted.client(obeyed(operation));
    if path.ends_with("/attachments") {
        path.push_str("?name=x");
        let request = client.request(reqwest::Method::POST, &path).header("idempotency-key", key);
        return answer(request.body(if changed { "another file" } else { "a file" })).await;
    }
    let mut body = body(planted, &operation.name());
    if changed {
        body["changed"] = json!(true);
    }
    let request = client.request(reqwest::Method::POST, &path).header("idempotency-key", key);
    answer(request.json(&body)).await
}

#[tokio::test]
async fn every_post_that_is_repeated_with_its_key_gets_the_first_answer_and_does_nothing() {
    let first = Planted::new().await;
    let mut walked = 0;
    for operation in operations().iter().filter(|operation| operation.method == "POST") {
        if operation.audience == "public" {
            continue;
        }
        let name = operation.name();
        let planted = first.again(&first.served.database).await;
        let done = with_key(operation, &planted, "\"the key\"", false).await;
        assert!(done.status.is_success(), "{name}: {}", done.text);
        let rows = planted.rows().await;
        let again = with_key(operation, &planted, "the key", false).await;
        if name == "POST /api/v1/keys" || name.ends_with("/consent") {
            again.problem(409, "Idempotency-Key");
        } else {
            assert_eq!((again.status, &again.text), (done.status, &done.text), "{name}");
            assert_eq!(again.headers["idempotent-replayed"], "true", "{name}");
            assert_eq!(again.headers.get("etag"), done.headers.get("etag"), "{name}");
            assert_eq!(again.headers.get("content-type"), done.headers.get("content-type"), "{name}");
        }
        let another = with_key(operation, &planted, "the key", true).await.problem(422, "Idempotency-Key");
        assert_eq!(another["type"], "docs/problems.md#key-reused", "{name}");
        assert_eq!(planted.rows().await, rows, "{name} did something again");
        let stranger = planted.client(Caller::Stranger).request(reqwest::Method::POST, "contacts");
        let stranger = stranger.header("idempotency-key", "the key").json(&json!({"name": "x"}));
        answer(stranger).await.expect(201);
        walked += 1;
    }
    assert!(walked > 20, "{walked}");
}

#[tokio::test]
async fn every_change_of_a_record_names_the_version_that_was_read() {
    let planted = Planted::new().await;
    let document: Value = serde_json::from_str(&api::openapi_json()).unwrap();
    let before = planted.rows().await;
    for operation in operations() {
        if !matches!(operation.method.as_str(), "PUT" | "PATCH" | "DELETE") {
            continue;
        }
        let name = operation.name();
        let described = &document["paths"][&operation.path][operation.method.to_lowercase()];
        let header = described["parameters"]
            .as_array()
            .and_then(|all| all.iter().find(|parameter| parameter["name"] == "If-Match"));
        let Some(header) = header else {
            assert!(
                described["x-unconditional"].is_string(),
                "{name} changes something without knowing what it overwrites: take `version::IfMatch` and name the \
                 header `If-Match` in its #[utoipa::path], or say in `extensions((\"x-unconditional\" = \
                 json!(\"why nothing can be lost\")))` why not"
            );
            continue;
        };
        assert_eq!(header["required"], true, "{name}");
        let caller = planted.client(obeyed(&operation));
        let request = || {
            let method = operation.method.parse().unwrap();
            caller.request(method, &operation.filled(&planted)).json(&body(&planted, &name))
        };
        let missing = answer(request()).await.problem(428, "If-Match");
        assert!(missing["remedy"].as_str().unwrap().contains("ETag"), "{name}: {missing}");
        answer(request().header("if-match", "\"999999999\"")).await.problem(412, "version");
    }
    assert_eq!(planted.rows().await, before, "something was changed");
}

#[tokio::test]
async fn of_requests_with_one_key_that_come_together_one_acts() {
    let planted = Planted::new().await;
    let admin = planted.client(Caller::Administrator);
    let new = json!({"name": "Zoe", "address": "zoe@example.com"});
    let ask = || {
        let request = admin.request(reqwest::Method::POST, "users").header("idempotency-key", "one");
        answer(request.json(&new))
    };
    let answers = futures_util::future::join_all((0..12).map(|_| ask())).await;
    let mut ids = std::collections::HashSet::new();
    for answer in answers {
        if answer.status == 409 {
            assert_eq!(answer.headers["retry-after"], "1");
            assert_eq!(answer.problem(409, "Idempotency-Key")["type"], "docs/problems.md#under-way");
        } else {
            ids.insert(answer.expect(201)["id"].clone());
        }
    }
    ids.insert(ask().await.expect(201)["id"].clone());
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_refused_request_keeps_nothing_and_may_be_repeated_with_its_key() {
    let planted = Planted::new().await;
    let admin = planted.client(Caller::Administrator);
    let ask = |key: &str, address: &str| {
        let request = admin.request(reqwest::Method::POST, "users").header("idempotency-key", key);
        answer(request.json(&json!({"name": "Zoe", "address": address})))
    };
    ask("a", "ada@example.com").await.problem(409, "address");
    let path = format!("users/{}", planted.ids["{user}"]);
    admin.patch(&path, json!({"address": "countess@example.com"})).await.expect(200);
    let made = ask("a", "ada@example.com").await.expect(201);
    assert_eq!(ask("a", "ada@example.com").await.expect(201), made);
    for unreadable in ["", "\"\"", &"x".repeat(256)] {
        ask(unreadable, "x@example.com").await.problem(400, "Idempotency-Key");
    }
    // Another's key of the same name is another key.
    let draft = |caller| {
        let request = planted.client(caller).request(reqwest::Method::POST, "emails");
        answer(request.header("idempotency-key", "a").json(&json!({})))
    };
    let (ada, bob) = (draft(Caller::Owner).await.expect(201), draft(Caller::Colleague).await.expect(201));
    assert_ne!(ada["id"], bob["id"]);
    // Once its time is over the key is free.
    store::testing::pass(&planted.served.database, std::time::Duration::from_secs(25 * 3600)).await.unwrap();
    ask("a", "later@example.com").await.expect(201);
}

//! Who may send as whom over the API: everybody in the own name, and in nobody else's without a grant; administrators and
//! services included.

use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{World, id, world};

/// A draft of this mailbox; written by whoever may.
async fn draft(by: &Client, from: &str) -> String {
    let body = json!({"from": from, "to": [{"address": "carol@there.example"}], "subject": "Engine"});
    format!("emails/{}", id(&by.post("emails", body).await.expect(201)))
}

async fn send(by: &Client, path: &str, options: Value) -> crate::client::Answer {
    by.post(&format!("{path}/send"), options).await
}

async fn service(world: &World, scopes: &[&str]) -> Client {
    let key = world.admin.post("keys", json!({"name": "service", "scopes": scopes})).await.expect(201);
    world.admin.with_key(key["key"].as_str())
}

async fn ready() -> World {
    let world = world().await;
    for mailbox in [&world.ada_box, &world.bob_box, &world.support_box] {
        world.enable(mailbox).await;
    }
    world
}

#[tokio::test]
async fn an_administrator_needs_a_grant_like_everyone_else() {
    let world = ready().await;
    let path = draft(&world.admin, &world.ada_box).await;
    let refused = send(&world.admin, &path, json!({})).await.problem(403, "from");
    assert!(refused["remedy"].as_str().unwrap().contains("ask Ada"), "{refused}");
    send(&world.admin, &path, json!({"person": world.ada_id})).await.problem(422, "person");
    // What an administrator prepared, the owner of the mailbox may send.
    assert_eq!(send(&world.ada, &path, json!({})).await.expect(202)["sending"]["person"], world.ada_id);
}

#[tokio::test]
async fn a_grant_lets_another_user_send_and_its_end_takes_back_what_waits() {
    let world = ready().await;
    let body = json!({"from": world.ada_box, "to": [{"address": "carol@there.example"}]});
    world.bob.post("emails", body).await.problem(422, "from");
    let grants = format!("users/{}/send-grants", world.ada_id);
    let grant = format!("{grants}/{}", world.bob_id);
    world.bob.put(&grant, json!({})).await.problem(404, "id");
    world.bob.get(&grants).await.problem(404, "id");
    world.ada.put(&grant, json!({})).await.expect(204);
    world.ada.put(&grant, json!({})).await.expect(204);
    let given = world.ada.get(&grants).await.expect(200);
    assert_eq!(given["given"][0]["user"], world.bob_id);
    assert_eq!(given["given"].as_array().unwrap().len(), 1);
    let received = world.bob.get(&format!("users/{}/send-grants", world.bob_id)).await.expect(200);
    assert_eq!(received["received"][0]["address"], "ada@example.com");

    let path = draft(&world.bob, &world.ada_box).await;
    let sent = send(&world.bob, &path, json!({})).await.expect(202);
    let sender: Vec<_> =
        sent["parties"].as_array().unwrap().iter().filter(|party| party["role"] == "sender").collect();
    assert_eq!((sender.len(), &sender[0]["address"]), (1, &json!("bob@example.com")));

    world.ada.delete(&grant).await.expect(204);
    let back = world.bob.get(&path).await.expect(200);
    assert_eq!(
        (&back["state"], &back["sending"]["recipients"][0]["state"]),
        (&json!("draft"), &json!("canceled"))
    );
    let told = world.bob.get("alerts?kind=send_withdrawn").await.expect(200);
    assert_eq!(told["items"].as_array().unwrap().len(), 1, "{told}");
    send(&world.bob, &path, json!({})).await.problem(403, "from");
    world.admin.put(&grant, json!({})).await.expect(204);
    send(&world.bob, &path, json!({})).await.expect(202);
}

#[tokio::test]
async fn a_service_names_the_person_on_whose_right_it_sends_or_has_a_scope_of_its_own() {
    let world = ready().await;
    let sends = service(&world, &["read", "send"]).await;
    let anybody = service(&world, &["read", "send_as_any"]).await;
    let administers = service(&world, &["read", "administer"]).await;
    let path = draft(&sends, &world.ada_box).await;
    let refused = send(&sends, &path, json!({})).await.problem(403, "person");
    assert!(refused["remedy"].as_str().unwrap().contains("send_as_any"), "{refused}");
    send(&sends, &path, json!({"person": world.bob_id})).await.problem(403, "from");
    send(&administers, &path, json!({"person": world.ada_id})).await.expect(403);
    let sent = send(&sends, &path, json!({"person": world.ada_id})).await.expect(202);
    assert_eq!(sent["sending"]["person"], world.ada_id);
    assert!(sent["sending"]["requested_by"].as_str().unwrap().starts_with("key:"), "{sent}");

    let path = draft(&anybody, &world.bob_box).await;
    assert_eq!(send(&anybody, &path, json!({})).await.expect(202)["sending"]["person"], Value::Null);
    let grant = format!("users/{}/send-grants/{}", world.ada_id, world.bob_id);
    anybody.put(&grant, json!({})).await.problem(404, "id");
    administers.put(&grant, json!({})).await.expect(204);
}

#[tokio::test]
async fn receipts_are_asked_for_and_sent_again_goes_to_whom_it_should() {
    let world = ready().await;
    let body = json!({
        "from": world.ada_box, "to": [{"address": "one@there.example"}, {"address": "two@there.example"}],
        "read_receipt_requested": true,
    });
    let path = format!("emails/{}", id(&world.ada.post("emails", body).await.expect(201)));
    let changed = world.ada.patch(&path, json!({"delivery_receipt_requested": true})).await.expect(200);
    assert_eq!(
        (&changed["read_receipt_requested"], &changed["delivery_receipt_requested"]),
        (&json!(true), &json!(true))
    );
    send(&world.ada, &path, json!({})).await.expect(202);
    world
        .served
        .database
        .owner()
        .await
        .unwrap()
        .batch_execute(
            "update send_recipients set state = case address when 'one@there.example' then 'accepted' else 'refused' end;
             update send_requests set ended_at = now(); update emails set state = 'sent'",
        )
        .await
        .unwrap();
    world.ada.patch(&path, json!({"text": "Something else"})).await.problem(409, "state");
    let to = json!({"to": [{"address": "one@there.example"}, {"address": "right@there.example"}]});
    assert_eq!(world.ada.patch(&path, to).await.expect(200)["state"], "sent");
    let sent = send(&world.ada, &path, json!({})).await.expect(202);
    let recipients: Vec<_> =
        sent["sending"]["recipients"].as_array().unwrap().iter().map(|to| to["address"].clone()).collect();
    assert_eq!(recipients, ["right@there.example"]);
    assert_eq!(sent["earlier_sendings"][0]["recipients"].as_array().unwrap().len(), 2);
    world.ada.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    let all = send(&world.ada, &path, json!({"recipients": "all"})).await.expect(202);
    assert_eq!(
        (&all["maybe_duplicate"], all["sending"]["recipients"].as_array().unwrap().len()),
        (&json!(true), 2)
    );
    send(&world.ada, &path, json!({"recipients": "none"})).await.problem(422, "recipients");
}

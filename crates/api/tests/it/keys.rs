//! Who is let in: missing, wrong and revoked keys, users and services, and what each of them may do.

use reqwest::Method;
use serde_json::json;

use crate::api::{self, Right};
use crate::client::answer;
use crate::world::{id, world};

#[tokio::test]
async fn a_request_without_a_valid_key_is_refused_with_the_reason() {
    let world = world().await;
    let nobody = &world.served.nobody;
    let refused = nobody.get("me").await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    refused.problem(401, "Authorization");
    for key in ["lk_unknown", "something else", ""] {
        nobody.with_key(Some(key)).get("me").await.problem(401, "Authorization");
    }
    let basic = nobody.request(Method::GET, "me").header("authorization", "Basic bGs6bGs=");
    answer(basic).await.problem(401, "Authorization");
    assert_eq!(nobody.get("/health").await.expect(200)["status"], "ok");
    assert_eq!(nobody.get("/ready").await.expect(200)["status"], "ok");
    assert!(nobody.get("openapi.json").await.expect(200)["paths"].is_object());
}

#[tokio::test]
async fn a_key_is_shown_once_and_lets_nobody_in_once_it_is_revoked() {
    let world = world().await;
    let made = world.admin.post("keys", json!({"name": "monitor", "scopes": ["read"]})).await.expect(201);
    let secret = made["key"].as_str().unwrap();
    assert!(secret.starts_with("lk_"));
    let monitor = world.admin.with_key(Some(secret));
    assert_eq!(monitor.get("me").await.expect(200)["scopes"], json!(["read"]));
    let listed = world.admin.get("keys").await.expect(200);
    assert!(!listed.to_string().contains(secret));
    world.admin.delete(&format!("keys/{}", id(&made))).await.expect(204);
    world.admin.delete(&format!("keys/{}", id(&made))).await.expect(204);
    monitor.get("me").await.problem(401, "Authorization");
}

#[tokio::test]
async fn a_users_key_lets_nobody_in_once_the_user_has_left() {
    let world = world().await;
    assert_eq!(world.bob.get("me").await.expect(200)["user"]["name"], "Bob");
    world.admin.patch(&format!("users/{}", world.bob_id), json!({"active": false})).await.expect(200);
    world.bob.get("me").await.problem(401, "Authorization");
}

#[tokio::test]
async fn a_users_key_cannot_administer() {
    let world = world().await;
    for (path, method, right) in api::route_table() {
        if !matches!(right, Right::Administer | Right::Oversee) {
            continue;
        }
        let (path, method): (_, Method) = (filled(&path), method.parse().unwrap());
        let refused = answer(world.ada.request(method.clone(), &path).json(&json!({}))).await;
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text);
        refused.problem(403, "");
    }
}

fn filled(path: &str) -> String {
    let id = "01989c5e-7d5e-7cc0-8000-000000000000";
    path.replace("{workload}", "incoming")
        .replace("{name}", "max_message_mb")
        .replace("{id}", id)
        .replace("{user}", id)
}

#[tokio::test]
async fn a_service_key_may_do_what_its_scopes_say_and_nothing_else() {
    let world = world().await;
    let key = world.admin.post("keys", json!({"name": "reader", "scopes": ["read"]})).await.expect(201);
    let reader = world.admin.with_key(key["key"].as_str());
    let email = world.receive(&world.ada_box, 1).await;
    assert_eq!(reader.get(&format!("emails/{email}")).await.expect(200)["subject"], "Number 1");
    reader.get(&format!("emails/{email}/body")).await.problem(403, "");
    reader.get(&format!("emails/{email}/raw")).await.problem(403, "");
    reader.post("emails", json!({})).await.problem(403, "");
    reader.post("users", json!({})).await.problem(403, "");
    reader.get("status").await.expect(200);
    for wrong in [json!({"name": "x"}), json!({"name": "x", "user": world.ada_id, "scopes": ["read"]})] {
        world.admin.post("keys", wrong).await.problem(422, "scopes");
    }
}

#[tokio::test]
async fn a_user_sees_the_own_mail_and_that_of_the_own_queues() {
    let world = world().await;
    let adas = world.receive(&world.ada_box, 1).await;
    let supports = world.receive(&world.support_box, 2).await;
    let seen = |list: serde_json::Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(id).collect()
    };
    assert_eq!(seen(world.ada.get("emails").await.expect(200)), [supports.clone(), adas.clone()]);
    assert!(seen(world.bob.get("emails").await.expect(200)).is_empty());
    for path in ["", "/body", "/raw"] {
        world.bob.get(&format!("emails/{adas}{path}")).await.problem(404, "id");
        world.ada.get(&format!("emails/{supports}{path}")).await.expect(200);
    }
    assert_eq!(
        seen(world.ada.get("mailboxes").await.expect(200)),
        [world.ada_box.clone(), world.support_box.clone()]
    );
    assert_eq!(seen(world.bob.get("mailboxes").await.expect(200)), std::slice::from_ref(&world.bob_box));
    world.bob.get(&format!("mailboxes/{}", world.ada_box)).await.problem(404, "id");
    world.bob.get(&format!("mailboxes/{}/items", world.ada_box)).await.problem(404, "id");
    let draft = json!({"from": world.ada_box, "to": [{"address": "x@example.com"}]});
    world.bob.post("emails", draft).await.problem(422, "from");
}

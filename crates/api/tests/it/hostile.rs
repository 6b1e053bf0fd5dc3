//! A careful stranger inside the house: what a user, a former owner or a guess must not get out of the API.

use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{World, id, world};

/// A user with a key, beside the world's.
async fn carl(world: &World) -> (String, Client) {
    let user = json!({"name": "Carl", "address": "carl@example.com"});
    let user = id(&world.admin.post("users", user).await.expect(201));
    let key = world.admin.post("keys", json!({"name": "browser", "user": user})).await.expect(201);
    (user, world.admin.with_key(key["key"].as_str()))
}

/// Gives Ada's mailbox to somebody else, as an administrator does.
async fn map_adas_box_to(world: &World, owner: Value) {
    let change = json!({"owner": owner, "confirm_owner": world.ada_id});
    world.admin.patch(&format!("mailboxes/{}", world.ada_box), change).await.expect(200);
}

async fn emails(client: &Client) -> Vec<String> {
    let list = client.get("emails").await.expect(200);
    list["items"].as_array().unwrap().iter().map(id).collect()
}

async fn alert(world: &World, subject: store::alert::Subject) -> String {
    let alert = store::alert::NewAlert {
        kind: model::alert::AlertKind::CredentialsRefused,
        subject,
        detail: String::new(),
        parameters: json!({}),
        server_said: Some("535 not ada@example.com".into()),
    };
    let tenant = world.tenant().await;
    let (id, _) = store::alert::raise(&tenant, &alert).await.unwrap();
    tenant.commit().await.unwrap();
    id.to_string()
}

#[tokio::test]
async fn who_else_got_a_copy_is_shown_to_nobody_but_administrators() {
    let world = world().await;
    let email = world.receive(&world.ada_box, 1).await;
    assert_eq!(world.receive(&world.bob_box, 1).await, email, "Bob stood in Bcc: one record, two receipts");
    let receipts = async |client: &Client| {
        let email = client.get(&format!("emails/{email}")).await.expect(200);
        let receipts = email["receipts"].as_array().unwrap().clone();
        receipts.iter().map(|receipt| receipt["mailbox"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(receipts(&world.ada).await, std::slice::from_ref(&world.ada_box));
    assert_eq!(receipts(&world.bob).await, std::slice::from_ref(&world.bob_box));
    assert_eq!(receipts(&world.admin).await, [world.ada_box.clone(), world.bob_box.clone()]);
}

#[tokio::test]
async fn a_mailbox_takes_no_mail_of_its_former_owner_along() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let (carl_id, carl) = carl(&world).await;
    let received = world.receive(&world.ada_box, 1).await;
    let draft = json!({"from": world.ada_box, "to": [{"address": "x@example.com"}]});
    let written = id(&world.ada.post("emails", draft).await.expect(201));
    let alert = alert(&world, store::alert::Subject::Mailbox(world.ada_box.parse().unwrap())).await;
    map_adas_box_to(&world, json!({"kind": "user", "id": carl_id})).await;

    assert_eq!(emails(&carl).await, [""; 0]);
    for path in ["", "/body", "/raw"] {
        carl.get(&format!("emails/{received}{path}")).await.problem(404, "id");
        world.ada.get(&format!("emails/{received}{path}")).await.expect(200);
    }
    carl.get(&format!("emails/{written}")).await.problem(404, "id");
    assert_eq!(carl.get("alerts").await.expect(200)["items"], json!([]));
    carl.post(&format!("alerts/{alert}/dismiss"), json!({})).await.problem(404, "id");
    world.ada.post(&format!("emails/{written}/send"), json!({})).await.problem(403, "from");

    let new = world.receive(&world.ada_box, 2).await;
    assert_eq!(emails(&carl).await, [new]);
}

#[tokio::test]
async fn an_alert_about_a_server_is_an_administrators_to_put_away_and_keeps_the_servers_words_to_them() {
    let world = world().await;
    let alert = alert(&world, store::alert::Subject::Profile(world.profile.parse().unwrap())).await;
    let seen = world.bob.get("alerts").await.expect(200);
    assert_eq!((&seen["items"][0]["id"], &seen["items"][0]["server_said"]), (&json!(alert), &Value::Null));
    world.bob.post(&format!("alerts/{alert}/dismiss"), json!({})).await.problem(403, "");
    let seen = world.admin.get("alerts").await.expect(200);
    assert_eq!(seen["items"][0]["server_said"], "535 not ada@example.com");
    world.admin.post(&format!("alerts/{alert}/dismiss"), json!({})).await.expect(204);
}

#[tokio::test]
async fn what_is_in_doubt_goes_out_again_only_for_who_may_still_send_from_its_mailbox() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let draft = json!({"from": world.ada_box, "to": [{"address": "x@example.com"}]});
    let email = id(&world.ada.post("emails", draft).await.expect(201));
    world.ada.post(&format!("emails/{email}/send"), json!({})).await.expect(202);
    let owner = world.served.database.owner().await.unwrap();
    assert_eq!(owner.execute("update emails set state = 'unknown'", &[]).await.unwrap(), 1);
    let (carl_id, _) = carl(&world).await;
    map_adas_box_to(&world, json!({"kind": "user", "id": carl_id})).await;
    world.ada.post(&format!("emails/{email}/resend"), json!({})).await.problem(403, "from");
    let email = world.ada.get(&format!("emails/{email}")).await.expect(200);
    assert_eq!(email["state"], "unknown");
}

//! Each noun's way through the API, as an administrator goes it.

use serde_json::{Value, json};

use crate::client::answer;
use crate::world::{id, new_profile, world};

#[tokio::test]
async fn users_and_queues_are_made_changed_and_listed() {
    let world = world().await;
    let path = format!("users/{}", world.bob_id);
    let read = world.admin.get(&path).await;
    assert_eq!(read.headers["etag"], "\"1\"");
    let bob = read.expect(200);
    assert_eq!(bob["role"], "user");
    let bob = world.admin.patch(&path, json!({"name": "Robert", "role": "admin"})).await.expect(200);
    assert_eq!((bob["name"].as_str(), bob["version"].as_i64()), (Some("Robert"), Some(2)));
    let queue = format!("queues/{}", world.support);
    let member = format!("{queue}/members/{}", world.bob_id);
    for _ in 0..2 {
        let with_bob = world.admin.put(&member, json!({})).await.expect(200);
        assert_eq!(with_bob["members"].as_array().unwrap().len(), 2);
    }
    let without = world.admin.delete(&member).await.expect(200);
    assert_eq!(without["members"], json!([world.ada_id]));
    let renamed = world.admin.patch(&queue, json!({"name": "Help", "members": []})).await.expect(200);
    assert_eq!((renamed["name"].as_str(), renamed["members"].as_array().unwrap().len()), (Some("Help"), 0));
    assert_eq!(world.admin.get("queues").await.expect(200)["items"][0]["name"], "Help");
}

#[tokio::test]
async fn a_change_of_a_version_that_is_no_more_is_refused() {
    let world = world().await;
    for path in [
        format!("users/{}", world.bob_id),
        format!("queues/{}", world.support),
        format!("profiles/{}", world.profile),
        format!("mailboxes/{}", world.ada_box),
    ] {
        let version = world.admin.get(&path).await.headers["etag"].to_str().unwrap().to_owned();
        let change = |version: &str, name: &str| {
            let request = world.admin.request(reqwest::Method::PATCH, &path).json(&json!({ "name": name }));
            answer(request.header("if-match", version.to_owned()))
        };
        change(&version, "First").await.expect(200);
        change(&version, "Second").await.problem(412, "version");
        change("*", "Third").await.expect(200);
        change("nonsense", "Fourth").await.problem(400, "If-Match");
        assert_eq!(world.admin.get(&path).await.expect(200)["name"], "Third");
    }
}

#[tokio::test]
async fn a_profile_keeps_its_password_to_itself() {
    let world = world().await;
    let mut new = new_profile("Shared");
    new["credentials_on"] = "profile".into();
    new["process_email_received_after"] = "2026-01-01T00:00:00Z".into();
    let profile = world.admin.post("profiles", new).await.expect(201);
    let path = format!("profiles/{}", id(&profile));
    let credential = json!({"username": "relay", "password": "correct horse"});
    world.admin.put(&format!("{path}/credential"), credential.clone()).await.expect(204);
    let read = world.admin.get(&path).await.expect(200);
    assert_eq!(read["credential"]["username"], "relay");
    assert!(!read.to_string().contains("correct horse"));
    let paused = world
        .admin
        .patch(&path, json!({"paused": true, "process_email_received_after": null}))
        .await
        .expect(200);
    assert!(paused["paused_reason"].is_string());
    assert!(paused["process_email_received_after"].is_null());
    let status = world.admin.get("status").await.expect(200);
    assert_eq!(status["held_profiles"]["first"][0]["name"], "Shared");
    assert!(world.admin.patch(&path, json!({"paused": false})).await.expect(200)["paused_reason"].is_null());
    world.admin.delete(&path).await.expect(204);
    world.admin.get(&path).await.problem(404, "id");
    // One that is in use stays; and a mailbox's secret is not the profile's.
    world.admin.delete(&format!("profiles/{}", world.profile)).await.expect(409);
    world
        .admin
        .put(&format!("profiles/{}/credential", world.profile), credential)
        .await
        .problem(422, "password");
}

#[tokio::test]
async fn a_mailbox_is_approved_tested_switched_and_mapped() {
    let world = world().await;
    let path = format!("mailboxes/{}", world.ada_box);
    world.admin.post(&format!("{path}/test"), json!({})).await.expect(409);
    let credential = json!({"username": "ada", "password": "pw"});
    world.admin.put(&format!("{path}/credential"), credential).await.expect(204);
    let read = world.admin.get(&path).await.expect(200);
    assert_eq!((read["has_password"].as_bool(), read["incoming_login"].as_str()), (Some(true), Some("ada")));
    assert_eq!(
        world.admin.post(&format!("{path}/approve"), json!({})).await.expect(200)["approval"],
        "approved"
    );
    let started = world.admin.post(&format!("{path}/test"), json!({})).await.expect(202);
    let job = started["jobs"][0]["job"].as_str().unwrap().to_owned();
    assert_eq!(world.admin.get(&format!("jobs/{job}")).await.expect(200)["kind"], "test_and_enable");
    let rotation = world.admin.post("jobs", json!({"kind": "key_rotation"})).await.expect(202);
    assert_eq!(rotation["state"], "waiting");
    assert_eq!(
        world.admin.post("jobs", json!({"kind": "test_and_enable"})).await.expect(422)["field"],
        "payload"
    );
    assert_eq!(world.admin.get("jobs?kind=test_and_enable").await.expect(200)["items"][0]["id"], job);
    for _ in 0..2 {
        assert_eq!(
            world.admin.post(&format!("jobs/{job}/cancel"), json!({})).await.expect(200)["state"],
            "canceled"
        );
    }
    let many = json!({"mailboxes": [world.ada_box, world.bob_box]});
    let started = world.admin.post("mailboxes/test", many).await.expect(202);
    assert_eq!(
        (started["jobs"].as_array().unwrap().len(), started["skipped"].as_array().unwrap().len()),
        (1, 1)
    );
    let started = world.admin.post(&format!("profiles/{}/test", world.profile), json!({})).await.expect(202);
    assert_eq!(
        (&started["kind"], &started["state"], &started["payload"]),
        (&json!("test_profile"), &json!("waiting"), &json!({"profile": world.profile}))
    );

    world.ada.post(&format!("{path}/workloads/incoming/sync"), json!({})).await.problem(409, "workload");
    world.enable(&world.ada_box).await;
    let synced = world.ada.post(&format!("{path}/workloads/incoming/sync"), json!({})).await.expect(202);
    assert_eq!(synced["workloads"][0]["enabled"], true);
    assert_eq!(synced["workloads"][0]["test"]["said"], "+OK");
    let off = world.admin.post(&format!("{path}/workloads/incoming/disable"), json!({})).await.expect(200);
    assert_eq!(off["workloads"][0]["enabled"], false);
    assert_eq!(
        world.admin.post(&format!("{path}/reject"), json!({})).await.expect(200)["approval"],
        "rejected"
    );

    let queue = world
        .admin
        .post("queues", json!({"name": "Sales", "address": "sales@example.com"}))
        .await
        .expect(201);
    let to = json!({"owner": {"kind": "queue", "id": id(&queue)}});
    let refused = world.admin.patch(&path, to.clone()).await.problem(409, "confirm_owner");
    assert!(refused["detail"].as_str().unwrap().contains("Ada"), "{refused}");
    let mut confirmed = to;
    confirmed["confirm_owner"] = world.ada_id.clone().into();
    let moved = world.admin.patch(&path, confirmed).await.expect(200);
    assert_eq!(
        (moved["owner"]["name"].as_str(), moved["approval"].as_str()),
        (Some("Sales"), Some("pending"))
    );
    assert_eq!(moved["has_password"], false);
    let history = world
        .admin
        .get(&format!("changes?record_type=mailbox&record_id={}", world.ada_box))
        .await
        .expect(200);
    assert!(history["items"].as_array().unwrap().len() >= 5);
    let filtered = world.admin.get(&format!("mailboxes?owner={}", world.bob_id)).await.expect(200);
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1);
    assert_eq!(world.admin.get("mailboxes?failing=true").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn what_was_seen_in_a_mailbox_is_listed_with_the_rule_that_decided() {
    let world = world().await;
    let email = world.receive(&world.ada_box, 1).await;
    let path = format!("mailboxes/{}/items", world.ada_box);
    let items = world.ada.get(&path).await.expect(200);
    assert_eq!(items["items"].as_array().unwrap().len(), 2);
    let recorded = world.ada.get(&format!("{path}?decision=recorded")).await.expect(200);
    assert_eq!(
        (recorded["items"][0]["email"].as_str(), recorded["items"][0]["rule"].as_str()),
        (Some(email.as_str()), Some("all"))
    );
    let first = world.ada.get(&format!("{path}?limit=1")).await.expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    let second = world.ada.get(&format!("{path}?limit=1&cursor={next}")).await.expect(200);
    assert_ne!(first["items"][0]["item_id"], second["items"][0]["item_id"]);
    assert!(second["next_cursor"].is_null());
}

#[tokio::test]
async fn contacts_and_addresses_of_a_host_application_are_known_senders() {
    let world = world().await;
    let contact = json!({"name": "Carol", "addresses": ["Carol@Sender.example"], "owner": {"kind": "user", "id": world.ada_id}});
    let contact = world.admin.post("contacts", contact).await.expect(201);
    assert_eq!(contact["addresses"], json!(["carol@sender.example"]));
    assert_eq!(world.ada.get("contacts").await.expect(200)["items"][0]["name"], "Carol");
    let account = json!({"addresses": [{"address": "info@acme.example", "party_type": "account",
        "party_id": "01989c5e-7d5e-7cc0-8000-000000000001", "name": "Acme"}]});
    assert_eq!(world.admin.put("addresses", account.clone()).await.expect(200)["changed"], 1);
    assert_eq!(world.admin.put("addresses", account).await.expect(200)["changed"], 0);
    let own = json!({"addresses": [{"address": "x@acme.example", "party_type": "user",
        "party_id": "01989c5e-7d5e-7cc0-8000-000000000001"}]});
    let rejected = world.admin.put("addresses", own).await.expect(200)["rejected"][0].clone();
    assert_eq!((&rejected["row"], &rejected["field"]), (&json!(0), &json!("party_type")));
}

#[tokio::test]
async fn settings_have_ranges_and_go_back_to_their_defaults() {
    let world = world().await;
    let listed = world.admin.get("settings").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), model::setting::SETTINGS.len());
    let set = world.admin.put("settings/max_message_mb", json!({"value": 30})).await.expect(200);
    assert_eq!((set["value"].as_i64(), set["is_set"].as_bool()), (Some(30), Some(true)));
    assert_eq!(world.admin.get("settings/max_message_mb").await.expect(200)["value"], 30);
    for wrong in [json!({"value": 0}), json!({"value": "30"}), json!({"value": {"deep": []}})] {
        world.admin.put("settings/max_message_mb", wrong).await.problem(422, "value");
    }
    world.admin.put("settings/max_message_mb", json!({})).await.problem(422, "value");
    let back = world.admin.put("settings/max_message_mb", json!({"value": null})).await.expect(200);
    assert_eq!((back["value"].as_i64(), back["is_set"].as_bool()), (Some(25), Some(false)));
    world.admin.get("settings/unknown").await.problem(404, "name");
}

#[tokio::test]
async fn alerts_speak_in_sentences_to_those_they_concern() {
    let world = world().await;
    let alert = store::alert::NewAlert {
        kind: model::alert::AlertKind::CredentialsRefused,
        subject: store::alert::Subject::Mailbox(world.ada_box.parse().unwrap()),
        detail: "incoming".into(),
        parameters: json!({"endpoint": "pop3://127.0.0.1:995", "workload": "incoming"}),
        server_said: Some("-ERR [AUTH] no".into()),
    };
    let tenant = world.tenant().await;
    for _ in 0..2 {
        store::alert::raise(&tenant, &alert).await.unwrap();
    }
    tenant.commit().await.unwrap();
    let seen = world.ada.get("alerts").await.expect(200);
    let alert = &seen["items"][0];
    assert_eq!((alert["count"].as_i64(), alert["server_said"].as_str()), (Some(2), Some("-ERR [AUTH] no")));
    assert!(alert["happened"].as_str().unwrap().contains("pop3://127.0.0.1:995"), "{alert}");
    assert!(
        !alert["happened"].as_str().unwrap().contains('{')
            && !alert["remedy"].as_str().unwrap().contains('?')
    );
    assert_eq!(world.admin.get("status").await.expect(200)["alerts"]["error"], 1);
    assert_eq!(world.bob.get("alerts").await.expect(200)["items"], json!([]));
    let path = format!("alerts/{}/dismiss", id(alert));
    world.bob.post(&path, json!({})).await.problem(404, "id");
    world.ada.post(&path, json!({})).await.expect(204);
    assert_eq!(world.ada.get("alerts").await.expect(200)["items"], json!([]));
    assert_eq!(world.ada.get("alerts?closed=true").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_come_in_pages_that_neither_skip_nor_repeat() {
    let world = world().await;
    for number in 0..5 {
        let user = json!({"name": format!("User {number}"), "address": format!("user{number}@example.com")});
        world.admin.post("users", user).await.expect(201);
        world
            .admin
            .post("keys", json!({"name": format!("Key {number}"), "scopes": ["read"]}))
            .await
            .expect(201);
        world.receive(&world.ada_box, number).await;
    }
    for path in ["users", "keys", "emails", "mailboxes", "settings"] {
        let whole = world.admin.get(&format!("{path}?limit=200")).await.expect(200);
        let whole: Vec<Value> = whole["items"].as_array().unwrap().clone();
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world.admin.get(&format!("{path}?limit=2{cursor}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{path}");
            paged.extend(items.iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(paged, whole, "{path}");
        assert!(paged.len() >= 3, "{path}");
    }
    let users = world.admin.get("users?limit=1").await.expect(200);
    let foreign = users["next_cursor"].as_str().unwrap();
    world.admin.get(&format!("emails?cursor={foreign}")).await.problem(400, "cursor");
    world.admin.get("users?cursor=nonsense").await.problem(400, "cursor");
    world.admin.get("users?limit=0").await.problem(422, "limit");
    world.admin.get("users?limit=many").await.problem(422, "limit");
    world.admin.get("users?colour=red").await.problem(422, "colour");
}

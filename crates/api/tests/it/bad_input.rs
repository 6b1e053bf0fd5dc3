//! Bad input: each is a clear error that names the field, the cause and the remedy.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::answer;
use crate::world::{config, id, new_profile, served, world};

#[tokio::test]
async fn a_profile_in_a_closed_network_is_refused_with_the_key_that_opens_it() {
    let served = served(config(), &[]).await;
    let (_, key) = served.organization("Engines").await;
    let admin = served.nobody.with_key(Some(&key));
    for host in
        ["127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "[::1]", "0.0.0.0"]
    {
        let mut new = new_profile("Inside");
        new["outgoing"]["host"] = "9.9.9.9".into();
        new["incoming"]["host"] = host.into();
        let problem = admin.post("profiles", new).await.problem(422, "incoming.host");
        assert!(problem["remedy"].as_str().unwrap().contains("network.allow"), "{problem}");
    }
    let mut new = new_profile("Inside");
    new["incoming"]["host"] = "9.9.9.9".into();
    admin.post("profiles", new).await.problem(422, "outgoing.host");
}

#[tokio::test]
async fn a_profile_whose_name_cannot_be_resolved_is_refused() {
    let world = world().await;
    let mut new = new_profile("Nowhere");
    new["incoming"]["host"] = "does-not-exist.invalid".into();
    let problem = world.admin.post("profiles", new).await.problem(422, "incoming.host");
    assert!(problem["remedy"].as_str().unwrap().contains("host name"), "{problem}");
    let moved = json!({"outgoing": {"host": "does-not-exist.invalid", "port": 587, "tls": "start_tls"}});
    world.admin.patch(&format!("profiles/{}", world.profile), moved).await.problem(422, "outgoing.host");
}

#[tokio::test]
async fn a_profiles_fields_are_held_to_their_ranges() {
    let world = world().await;
    let wrong: [(&str, Value, &str); 12] = [
        ("/incoming/port", 70_000.into(), "incoming.port"),
        ("/incoming/port", 0.into(), "incoming.port"),
        ("/outgoing/port", (-1).into(), "outgoing.port"),
        ("/outgoing/port", "smtp".into(), "outgoing.port"),
        ("/incoming/tls", "none".into(), "incoming.tls"),
        ("/incoming/host", "".into(), "incoming.host"),
        ("/incoming/host", "pop3://mail.example.com".into(), "incoming.host"),
        ("/credentials_on", "nowhere".into(), "credentials_on"),
        ("/name", "".into(), "name"),
        ("/name", "a\u{0}b".into(), "name"),
        ("/name", Value::Null, "name"),
        ("/incoming", "mail.example.com".into(), "incoming"),
    ];
    for (pointer, value, field) in wrong {
        let mut new = new_profile("Wrong");
        *new.pointer_mut(pointer).unwrap() = value;
        world.admin.post("profiles", new).await.problem(422, field);
    }
    let more = [
        ("max_connections", json!(0)),
        ("max_connections", json!(65_537)),
        ("max_in_flight", json!(0)),
        ("min_polling_minutes", json!(1441)),
        ("connect_timeout_ms", json!(100_001)),
        ("ca_certificate", json!("not PEM")),
        ("process_email_received_after", json!("yesterday")),
        ("colour", json!("red")),
    ];
    for (field, value) in more {
        let mut new = new_profile("Wrong");
        new[field] = value;
        world.admin.post("profiles", new).await.problem(422, field);
    }
    world.admin.post("profiles", new_profile("Mail")).await.problem(409, "name");
}

#[tokio::test]
async fn an_address_that_is_no_address_is_refused() {
    let world = world().await;
    for address in [
        "",
        "ada",
        "ada@",
        "@example.com",
        "ada lovelace@example.com",
        "ada@example..com",
        "a\r\nb@example.com",
    ] {
        let user = json!({"name": "Ada", "address": address});
        let problem = world.admin.post("users", user).await.problem(422, "address");
        assert!(problem["remedy"].as_str().unwrap().contains("ada@example.com"), "{problem}");
        let queue = json!({"name": "Ada", "address": address});
        world.admin.post("queues", queue).await.problem(422, "address");
        let mailbox = json!({"address": address, "profile": world.profile});
        world.admin.post("mailboxes", mailbox).await.problem(422, "address");
        let email = json!({"to": [{"address": "fine@example.com"}, {"address": address}]});
        world.ada.post("emails", email).await.problem(422, "to[1].address");
    }
    let taken = json!({"name": "Ada", "address": "ADA@example.com"});
    world.admin.post("users", taken).await.problem(409, "address");
}

#[tokio::test]
async fn a_second_mailbox_for_a_user_and_one_on_an_unknown_profile_are_refused() {
    let world = world().await;
    let new = |address: &str, profile: &str, owner: Value| {
        let new = json!({"address": address, "profile": profile, "owner": owner});
        world.admin.post("mailboxes", new)
    };
    let ada = json!({"kind": "user", "id": world.ada_id});
    let nobody = "01989c5e-7d5e-7cc0-8000-000000000000";
    let second = new("ada2@example.com", &world.profile, ada.clone()).await.problem(409, "owner");
    assert!(second["detail"].as_str().unwrap().contains("Ada"), "{second}");
    new("new@example.com", nobody, Value::Null).await.problem(422, "profile");
    new("new@example.com", &world.profile, json!({"kind": "user", "id": nobody})).await.problem(422, "owner");
    new("new@example.com", &world.profile, json!({"kind": "robot", "id": nobody}))
        .await
        .problem(422, "owner.kind");
    new("ada@example.com", &world.profile, Value::Null).await.problem(409, "address");
    new("new@example.com", "no-id", Value::Null).await.problem(422, "profile");
    let deleting =
        json!({"address": "new@example.com", "profile": world.profile, "delete_after_processing": true});
    world.admin.post("mailboxes", deleting).await.problem(422, "delete_after_processing");
    let act = json!({"act": "server_side"});
    world.admin.patch(&format!("mailboxes/{}", world.ada_box), act).await.problem(422, "act");
}

#[tokio::test]
async fn a_send_without_recipients_or_from_a_mailbox_that_is_not_enabled_is_refused() {
    let world = world().await;
    let draft =
        async |body: Value| format!("emails/{}/send", id(&world.ada.post("emails", body).await.expect(201)));
    let to = json!([{"address": "bob@example.com"}]);
    let not_enabled = draft(json!({"from": world.ada_box, "to": to})).await;
    world.ada.post(&not_enabled, json!({})).await.problem(409, "from");
    let without_sender = draft(json!({"to": to})).await;
    world.ada.post(&without_sender, json!({})).await.problem(422, "from");
    world.enable(&world.ada_box).await;
    let without_recipients = draft(json!({"from": world.ada_box})).await;
    let problem = world.ada.post(&without_recipients, json!({})).await.problem(422, "to");
    assert!(problem["remedy"].as_str().unwrap().contains("`to`"), "{problem}");
    world.ada.post(&not_enabled, json!({"not_before": "tomorrow"})).await.problem(422, "not_before");
    world.ada.post(&not_enabled, json!({})).await.expect(202);
    world.ada.post(&not_enabled, json!({})).await.problem(409, "state");
    let injected = json!({"subject": "Hello\r\nBcc: x@example.com"});
    world.ada.post("emails", injected).await.problem(422, "subject");
    world.ada.post("emails", json!({"in_reply_to": "<a@b>\r\nX: y"})).await.problem(422, "in_reply_to");
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_by_its_announced_and_by_its_real_size() {
    let world = world().await;
    let email = id(&world.ada.post("emails", json!({})).await.expect(201));
    let path = format!("emails/{email}/attachments?name=film.mp4");
    let sixty = vec![7_u8; 60 * 1024 * 1024];
    let chunks =
        futures_util::stream::iter((0..60).map(|_| Ok::<_, std::io::Error>(vec![7_u8; 1024 * 1024])));
    let streamed = world.ada.request(Method::POST, &path).body(reqwest::Body::wrap_stream(chunks));
    let announced = world.ada.request(Method::POST, &path).body(sixty);
    for (request, size) in [(streamed, "MB"), (announced, "60 MB")] {
        let problem = answer(request).await.problem(413, "attachment");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains(size) && detail.contains("25 MB") && detail.contains("max_message_mb"),
            "{detail}"
        );
    }
    let body = world.ada.get(&format!("emails/{email}/body")).await.expect(200);
    assert_eq!(body["attachments"], json!([]));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_says_why() {
    let world = world().await;
    let sent = |body: &str, kind: &str| {
        answer(
            world
                .admin
                .request(Method::POST, "users")
                .header("content-type", kind.to_owned())
                .body(body.to_owned()),
        )
    };
    sent("{", "application/json").await.problem(400, "");
    sent("{} {}", "application/json").await.problem(422, "name");
    sent("[]", "application/json").await.problem(422, "body");
    sent("name=Ada", "application/x-www-form-urlencoded").await.problem(415, "Content-Type");
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(9_000_000));
    let problem = sent(&large, "application/json").await.problem(413, "");
    assert!(problem["detail"].as_str().unwrap().contains("2000000"), "{problem}");
    world.admin.post("users", json!({"name": "Ada"})).await.problem(422, "address");
    world.admin.post("users", json!({"name": "Ada", "addres": "x@example.com"})).await.problem(422, "addres");
    world.admin.post("users", json!({"name": 7, "address": "x@example.com"})).await.problem(422, "name");
    world.admin.get("users/no-id").await.problem(404, "path");
    world.admin.get("nothing").await.problem(404, "");
    world.admin.get("/nothing").await.problem(404, "");
    world.admin.delete("users").await.problem(405, "");
    world.admin.get("users?cursor=%00").await.problem(400, "");
    world.admin.get("changes?record_id=mailbox").await.problem(422, "record_id");
}

#[tokio::test]
async fn a_request_keeps_its_id_and_its_trace() {
    let world = world().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = world
        .admin
        .request(Method::POST, "users")
        .json(&json!({"name": "Eve", "address": "eve@example.com"}));
    let answered = answer(request.header("x-request-id", "mine-1").header("traceparent", trace)).await;
    assert_eq!(answered.headers["x-request-id"], "mine-1");
    let eve = id(&answered.expect(201));
    let changes = world.admin.get(&format!("changes?record_type=user&record_id={eve}")).await.expect(200);
    assert_eq!(changes["items"][0]["trace"], trace);
    let unfit = world.admin.request(Method::GET, "me").header("x-request-id", "a b\tc");
    assert_ne!(answer(unfit).await.headers["x-request-id"], "a b\tc");
}

/// Letters that no compression shortens.
fn noise(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&model::clock::new_id::<model::id::EmailId>().to_string());
    }
    text
}

#[tokio::test]
async fn an_external_id_that_no_index_holds_is_refused() {
    let world = world().await;
    let mut profile = new_profile("Long");
    profile["external_id"] = noise(20_000).into();
    let user = json!({"name": "Eve", "address": "eve@example.com"});
    let mailbox = json!({"address": "eve@example.com", "profile": world.profile});
    let news = [
        ("users", user.clone()),
        ("queues", user),
        ("contacts", json!({"name": "Eve"})),
        ("mailboxes", mailbox),
        ("emails", json!({})),
        ("profiles", profile),
    ];
    for (path, mut new) in news {
        new["external_id"] = noise(20_000).into();
        world.admin.post(path, new.clone()).await.problem(422, "external_id");
        new["external_id"] = "ä".repeat(255).into();
        world.admin.post(path, new).await.expect(201);
    }
    let about = |kind: &str| json!({"regarding": {"type": kind, "id": world.bob_id}});
    world.ada.post("emails", about(&noise(20_000))).await.problem(422, "regarding.type");
    world.ada.post("emails", about("account")).await.expect(201);
}

#[tokio::test]
async fn what_stands_in_a_header_or_a_command_is_one_line() {
    let world = world().await;
    for text in ["Eve\r\nBcc: x@example.com", "Eve\u{7}", "Eve\u{85}", "Eve\u{2028}"] {
        let named = json!({"name": text, "address": "eve@example.com"});
        world.admin.post("users", named.clone()).await.problem(422, "name");
        world.admin.post("queues", named).await.problem(422, "name");
        world.admin.post("contacts", json!({"name": text})).await.problem(422, "name");
        world.admin.post("keys", json!({"name": text, "scopes": ["read"]})).await.problem(422, "name");
        world.admin.post("profiles", new_profile(text)).await.problem(422, "name");
        let mailbox = json!({"name": text, "address": "eve@example.com", "profile": world.profile});
        world.admin.post("mailboxes", mailbox).await.problem(422, "name");
        let login = json!({"incoming_login": text});
        world
            .admin
            .patch(&format!("mailboxes/{}", world.ada_box), login)
            .await
            .problem(422, "incoming_login");
        world.ada.post("emails", json!({"subject": text})).await.problem(422, "subject");
        let to = json!({"to": [{"address": "eve@example.com", "name": text}]});
        world.ada.post("emails", to).await.problem(422, "to[0].name");
        let credential = json!({"username": text, "password": "x"});
        let path = format!("mailboxes/{}/credential", world.ada_box);
        world.admin.put(&path, credential).await.problem(422, "username");
    }
}

#[tokio::test]
async fn a_password_is_in_no_answer_whatever_is_wrong_with_it() {
    let world = world().await;
    let wrong = [
        (json!(20_260_131), "password"),
        (json!(20_260.131), "password"),
        (json!(["20260131"]), "password"),
        (json!({"20260131": 1}), "password"),
        (json!("20260131\n"), "password"),
        (json!("20260131\0"), "password"),
    ];
    for (password, field) in wrong {
        let new = json!({"username": "ada", "password": password});
        let problem = world
            .admin
            .put(&format!("mailboxes/{}/credential", world.ada_box), new)
            .await
            .problem(422, field);
        let told = problem.to_string();
        assert!(!told.contains("20260") && !told.contains("20_260"), "{told}");
    }
    let whole = format!("mailboxes/{}/credential", world.ada_box);
    let told = world.admin.put(&whole, json!("20260131")).await.problem(422, "body").to_string();
    assert!(!told.contains("20260131"), "{told}");
    let mut profile = new_profile("Key");
    profile["ca_certificate"] = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n\
        -----BEGIN PRIVATE KEY-----\n20260131\n-----END PRIVATE KEY-----\n"
        .into();
    let told = world.admin.post("profiles", profile).await.problem(422, "ca_certificate").to_string();
    assert!(!told.contains("20260131"), "{told}");
}

#[tokio::test]
async fn a_time_before_any_calendar_is_refused() {
    let world = world().await;
    let early = json!("-009999-06-01T00:00:00Z");
    let field = "process_email_received_after";
    let mut profile = new_profile("Early");
    profile[field] = early.clone();
    world.admin.post("profiles", profile).await.problem(422, field);
    world
        .admin
        .patch(&format!("profiles/{}", world.profile), json!({field: early}))
        .await
        .problem(422, field);
    let mailbox = json!({"address": "eve@example.com", "profile": world.profile, field: early});
    world.admin.post("mailboxes", mailbox).await.problem(422, field);
    world
        .admin
        .patch(&format!("mailboxes/{}", world.ada_box), json!({field: early}))
        .await
        .problem(422, field);
    world.enable(&world.ada_box).await;
    let draft = json!({"from": world.ada_box, "to": [{"address": "bob@example.com"}]});
    let draft = id(&world.ada.post("emails", draft).await.expect(201));
    let send = format!("emails/{draft}/send");
    world.ada.post(&send, json!({"not_before": early})).await.problem(422, "not_before");
}

#[tokio::test]
async fn a_cursor_that_was_made_up_is_refused() {
    use base64::Engine as _;
    let world = world().await;
    for text in [
        r#"items ["2024-01-01T00:00:00Z","a\u0000b","c"]"#,
        r#"items ["2024-01-01T00:00:00Z","ab","c\u0000"]"#,
        r#"items ["-009999-06-01T00:00:00Z","ab","c"]"#,
        "items []",
        "emails 1",
    ] {
        let cursor = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
        let path = format!("mailboxes/{}/items?cursor={cursor}", world.ada_box);
        world.ada.get(&path).await.problem(400, "cursor");
    }
}

#[tokio::test]
async fn a_contact_belongs_to_a_user_or_queue_of_the_organization() {
    let world = world().await;
    let (other, key) = world.served.organization("Difference Engines").await;
    let stranger = world.served.nobody.with_key(Some(&key)).get("me").await.expect(200);
    assert_ne!(other, world.organization);
    let new = |kind: &str, id: &Value| json!({"name": "Eve", "owner": {"kind": kind, "id": id}});
    for (kind, id) in [
        ("user", &stranger["user"]["id"]),
        ("queue", &stranger["user"]["id"]),
        ("user", &json!(world.support)),
    ] {
        world.admin.post("contacts", new(kind, id)).await.problem(422, "owner");
    }
    world.admin.post("contacts", new("queue", &json!(world.support))).await.expect(201);
}

//! The OpenAPI document walked operation by operation: nobody gets in without a key, and an administrator of another
//! organization gets nothing of this one, whatever the operation.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{self, Right};
use crate::client::answer;
use crate::world::{World, author, id, world};

/// Fills a path with ids of this organization.
struct Filler {
    ids: HashMap<&'static str, String>,
    attachment: String,
}

impl Filler {
    async fn new(world: &World) -> Self {
        let email = world.receive(&world.ada_box, 1).await;
        let content = world.ada.get(&format!("emails/{email}/body")).await.expect(200);
        world.enable(&world.ada_box).await;
        let job = world.admin.post(&format!("mailboxes/{}/test", world.ada_box), json!({})).await.expect(202);
        let alert = store::alert::NewAlert {
            kind: model::alert::AlertKind::MailboxLocked,
            subject: store::alert::Subject::Mailbox(world.ada_box.parse().unwrap()),
            detail: String::new(),
            parameters: json!({}),
            server_said: None,
        };
        let tenant = world.tenant().await;
        let (alert, _) = store::alert::raise(&tenant, &alert).await.unwrap();
        let key = store::key::list(&tenant).await.unwrap()[0].id;
        store::profile::pause(&tenant, world.profile.parse().unwrap(), "for a test", &author())
            .await
            .unwrap();
        tenant.commit().await.unwrap();
        let ids = HashMap::from([
            ("keys", key.to_string()),
            ("users", world.bob_id.clone()),
            ("queues", world.support.clone()),
            ("profiles", world.profile.clone()),
            ("mailboxes", world.ada_box.clone()),
            ("emails", email),
            ("alerts", alert.to_string()),
            ("jobs", job["jobs"][0]["job"].as_str().unwrap().to_owned()),
        ]);
        Self { ids, attachment: content["attachments"][0]["id"].as_str().unwrap().to_owned() }
    }

    fn filled(&self, path: &str, world: &World) -> String {
        let noun = path.trim_start_matches("/api/v1/").split('/').next().unwrap_or_default();
        let mut path = path
            .replace("{attachment}", &self.attachment)
            .replace("{workload}", "incoming")
            .replace("{name}", "max_message_mb")
            .replace("{user}", &world.ada_id);
        if let Some(id) = self.ids.get(noun) {
            path = path.replace("{id}", id);
        }
        assert!(!path.contains('{'), "the test has no id for {path}");
        match path.as_str() {
            "/api/v1/changes" => format!("{path}?record=mailbox:{}", world.ada_box),
            upload if upload.ends_with("/attachments") => format!("{path}?name=x"),
            _ => path,
        }
    }
}

/// A body that the operation takes, with ids of this organization wherever it has any.
fn body(path: &str, method: &str, world: &World) -> Value {
    match (method, path) {
        ("POST", "/api/v1/keys") => json!({"name": "x", "user": world.ada_id}),
        ("PUT", path) if path.ends_with("/credential") => json!({"username": "x", "password": "x"}),
        ("POST", "/api/v1/mailboxes/test") => json!({"mailboxes": [world.ada_box]}),
        ("POST", "/api/v1/mailboxes") => json!({"address": "new@example.com", "profile": world.profile}),
        ("POST", "/api/v1/queues") => {
            json!({"name": "x", "address": "new@example.com", "members": [world.ada_id]})
        }
        ("POST", "/api/v1/emails") => json!({"from": world.ada_box}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn no_operation_answers_without_a_key() {
    let world = world().await;
    let filler = Filler::new(&world).await;
    for (path, method, right) in api::route_table() {
        let ours = filler.filled(&path, &world);
        let request = world.served.nobody.request(method.parse().unwrap(), &ours);
        let answered = answer(request.json(&body(&path, &method, &world))).await;
        let wanted = if right == Right::Open { 200 } else { 401 };
        assert_eq!(answered.status.as_u16(), wanted, "{method} {path}: {}", answered.text);
    }
}

#[tokio::test]
async fn an_administrator_of_another_organization_gets_nothing_of_this_one() {
    let world = world().await;
    let filler = Filler::new(&world).await;
    let (_, key) = world.served.organization("Difference Engines").await;
    let stranger = world.served.nobody.with_key(Some(&key));
    let ours = [&world.ada_id, &world.bob_id, &world.support, &world.profile, &world.ada_box, &world.bob_box]
        .into_iter()
        .chain(filler.ids.values())
        .chain([&filler.attachment]);
    let ours: Vec<&String> = ours.collect();
    let everything = snapshot(&world).await;
    let mut walked = 0;
    for (path, method, right) in api::route_table() {
        if right == Right::Open {
            continue;
        }
        let path_of_ours = filler.filled(&path, &world);
        let request = stranger.request(method.parse::<Method>().unwrap(), &path_of_ours);
        let answered = answer(request.json(&body(&path, &method, &world))).await;
        let status = answered.status.as_u16();
        assert!(status < 500, "{method} {path}: {}", answered.text);
        if path.contains("{id}") {
            assert_eq!(status, 404, "{method} {path}: {}", answered.text);
        }
        if status < 300 {
            for id in &ours {
                assert!(
                    !answered.text.contains(id.as_str()),
                    "{method} {path} shows {id}: {}",
                    answered.text
                );
            }
        }
        walked += 1;
    }
    assert!(walked > 50, "{walked}");
    assert_eq!(snapshot(&world).await, everything, "nothing of ours was changed");
}

/// What a stranger might have changed.
async fn snapshot(world: &World) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in [
        "users",
        "queues",
        "profiles",
        "mailboxes",
        "keys",
        "jobs",
        "alerts",
        "emails",
        "settings",
        "contacts",
    ] {
        seen.push(world.admin.get(path).await.expect(200));
    }
    seen
}

#[tokio::test]
async fn a_clash_with_another_organization_is_refused_without_naming_it() {
    let world = world().await;
    let (_, key) = world.served.organization("Difference Engines").await;
    let stranger = world.served.nobody.with_key(Some(&key));
    let profile = id(&stranger.post("profiles", crate::world::new_profile("Theirs")).await.expect(201));
    let new = json!({"address": "ada@example.com", "profile": profile});
    let problem = stranger.post("mailboxes", new).await.problem(409, "address");
    assert!(
        !problem.to_string().contains("Analytical") && !problem.to_string().contains(&world.ada_box),
        "{problem}"
    );
}

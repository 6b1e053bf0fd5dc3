//! The log of changes over the API: a record's history with names, and the feed that a host application follows.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::world::{World, id, world};

/// The feed from a place on, until `wanted` has been seen: a neighbour's transaction on this server delays it.
async fn followed(
    client: &Client,
    after: &str,
    mut wanted: impl FnMut(&Value) -> bool,
) -> (Vec<Value>, String) {
    let mut place = after.to_owned();
    let mut seen = Vec::new();
    let following = async {
        loop {
            let from = if place.is_empty() { String::new() } else { format!("&after={place}") };
            let page = client.get(&format!("changes?limit=200&wait=2{from}")).await.expect(200);
            page["after"].as_str().unwrap().clone_into(&mut place);
            seen.extend(page["items"].as_array().unwrap().iter().cloned());
            if seen.iter().any(&mut wanted) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(60), following).await.unwrap();
    (seen, place)
}

async fn rename(world: &World, name: &str) {
    world.admin.patch(&format!("users/{}", world.ada_id), json!({"name": name})).await.expect(200);
}

#[tokio::test]
async fn a_history_says_who_changed_what_from_which_value_to_which() {
    let world = world().await;
    let path = format!("mailboxes/{}", world.ada_box);
    let key = json!({"name": "Billing", "scopes": ["read", "administer"]});
    let billing = world.admin.post("keys", key).await.expect(201);
    let billing = world.admin.with_key(billing["key"].as_str());
    billing.patch(&path, json!({"name": "Countess"})).await.expect(200);
    world.admin.post(&format!("{path}/approve"), json!({})).await.expect(200);
    let password = json!({"username": "ada@example.com", "password": "correct horse"});
    world.admin.put(&format!("{path}/credential"), password).await.expect(204);

    let history = world.admin.get(&format!("changes?record_id={}", world.ada_box)).await;
    assert!(!history.text.contains("correct horse"));
    let history = history.expect(200);
    let items = history["items"].as_array().unwrap();
    let who: Vec<_> = items.iter().map(|item| item["actor_name"].as_str().unwrap()).collect();
    assert_eq!(who, ["Grace", "Billing", "Grace", "Grace"]);
    assert_eq!(items[1]["fields"], json!({"name": {"old": "Ada", "new": "Countess"}}));
    assert_eq!(items[2]["fields"]["approval"]["new"], "approved");
    assert_eq!(items[3]["fields"]["password"], json!({}), "that it changed, and by whom, and not to what");
    assert!(items.iter().all(|item| item["record_name"] == "Countess" && item["at"].is_string()));
    let only = format!("changes?record_id={}&record_type=mailbox&field=approval", world.ada_box);
    assert_eq!(world.admin.get(&only).await.expect(200)["items"].as_array().unwrap().len(), 1);
    let page = world.admin.get(&format!("changes?record_id={}&limit=3", world.ada_box)).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = format!("changes?record_id={}&cursor={cursor}", world.ada_box);
    let rest = world.admin.get(&rest).await.expect(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));

    // What is gone is still called by its name, and so is who has gone.
    world.admin.delete(&path).await.expect(204);
    let history = world.admin.get(&format!("changes?record_id={}", world.ada_box)).await.expect(200);
    let last = history["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["record_name"], &last["fields"]["deleted"]["new"]), (&json!("Countess"), &json!(true)));
}

#[tokio::test]
async fn jobs_and_dismissed_alerts_are_written_down() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let end = world.admin.get("changes?after=now").await.expect(200);
    let place = end["after"].as_str().unwrap().to_owned();
    let started = world.admin.post(&format!("mailboxes/{}/test", world.ada_box), json!({})).await.expect(202);
    let job = started["jobs"][0]["job"].as_str().unwrap().to_owned();
    let (seen, _) = followed(&world.admin, &place, |item| item["record_id"] == job.as_str()).await;
    let found = seen.iter().find(|item| item["record_id"] == job.as_str()).unwrap();
    assert_eq!(
        (&found["record_type"], &found["fields"]["kind"]["new"]),
        (&json!("job"), &json!("test_and_enable"))
    );

    let tenant = world.tenant().await;
    let alert = store::alert::NewAlert {
        kind: model::alert::AlertKind::MailboxLocked,
        subject: store::alert::Subject::Mailbox(world.ada_box.parse().unwrap()),
        detail: String::new(),
        parameters: json!({}),
        server_said: None,
    };
    let (alert, _) = store::alert::raise(&tenant, &alert).await.unwrap();
    tenant.commit().await.unwrap();
    for _ in 0..2 {
        world.ada.post(&format!("alerts/{alert}/dismiss"), json!({})).await.expect(204);
    }
    let history = world.ada.get(&format!("changes?record_id={alert}")).await.expect(200);
    let items = history["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "putting it away once more changes nothing");
    assert_eq!(
        (&items[0]["actor_name"], &items[0]["fields"]["dismissed"]["new"]),
        (&json!("Ada"), &json!(true))
    );
}

#[tokio::test]
async fn a_follower_that_waits_hears_of_a_change_as_it_is_committed() {
    let world = world().await;
    let end = world.admin.get("changes?after=now").await.expect(200);
    assert_eq!(end["items"], json!([]));
    let place = end["after"].as_str().unwrap().to_owned();
    let (waits, ()) = tokio::join!(
        followed(&world.admin, &place, |item| item["fields"]["name"]["new"] == "Augusta"),
        async {
            sleep(Duration::from_millis(300)).await;
            rename(&world, "Augusta").await;
        }
    );
    let (seen, next) = waits;
    assert_eq!(seen.last().unwrap()["record_id"], world.ada_id.as_str());
    // In the middle of an answer, each item says where it stands.
    let all = world.admin.get("changes?limit=3").await.expect(200);
    assert_eq!(all["more"], true);
    let second = all["items"][1]["cursor"].as_str().unwrap();
    let rest = world.admin.get(&format!("changes?limit=1&after={second}")).await.expect(200);
    assert_eq!(rest["items"][0]["sequence"], all["items"][2]["sequence"]);
    // Who asks without waiting is answered at once.
    let nothing = world.admin.get(&format!("changes?after={next}")).await.expect(200);
    assert_eq!((&nothing["items"], &nothing["more"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn users_follow_their_own_and_services_all_of_the_organization() {
    let world = world().await;
    let key = world.admin.post("keys", json!({"name": "Host", "scopes": ["read"]})).await.expect(201);
    let host = world.admin.with_key(key["key"].as_str());
    let email = world.receive(&world.ada_box, 1).await;
    world.admin.put("settings/max_message_mb", json!({"value": 20})).await.expect(200);
    let own = json!({"subject": "Mine", "from": world.bob_box});
    let draft = id(&world.bob.post("emails", own).await.expect(201));
    world.bob.delete(&format!("emails/{draft}")).await.expect(204);
    rename(&world, "The last").await;
    let last = |item: &Value| item["fields"]["name"]["new"] == "The last";
    let (all, _) = followed(&host, "", last).await;
    let (adas, _) = followed(&world.ada, "", last).await;
    let count =
        |items: &[Value], record: &str| items.iter().filter(|item| item["record_id"] == record).count();
    let of = |items: &[Value], kind: &str| items.iter().filter(|item| item["record_type"] == kind).count();
    assert_eq!((count(&all, &email), of(&all, "setting"), count(&all, &draft)), (1, 1, 2));
    assert_eq!((count(&adas, &email), of(&adas, "setting"), count(&adas, &draft)), (1, 0, 0));
    assert_eq!((of(&adas, "profile"), of(&adas, "key"), count(&adas, &world.bob_box)), (0, 0, 0));
    let bobs = world.bob.get(&format!("changes?record_id={draft}")).await.expect(200);
    assert_eq!(bobs["items"].as_array().unwrap().len(), 2, "what he did stays his to see");
    let others = world.bob.get(&format!("changes?record_id={email}")).await.expect(200);
    assert_eq!(others["items"], json!([]));
}

#[tokio::test]
async fn a_place_that_means_nothing_is_refused_with_the_way_on() {
    let world = world().await;
    world.admin.get("changes?after=nonsense").await.problem(400, "after");
    world.admin.get("changes?wait=61").await.problem(422, "wait");
    world.admin.get("changes?cursor=abc").await.problem(422, "cursor");
    let mixed = format!("changes?record_id={}&after=now", world.ada_box);
    world.admin.get(&mixed).await.problem(422, "after");
    let gone = world.admin.get("changes?after=77.1.1").await.problem(410, "after");
    assert!(gone["remedy"].as_str().unwrap().contains("after=now"), "{gone}");
    let owner = world.served.database.owner().await.unwrap();
    let forget = "insert into change_horizons select id, '9000000000'::xid8, 1 from organizations";
    let end = world.admin.get("changes?after=now").await.expect(200);
    owner.batch_execute(forget).await.unwrap();
    let old = format!("changes?after={}", end["after"].as_str().unwrap());
    let gone = world.admin.get(&old).await.problem(410, "after");
    assert!(gone["detail"].as_str().unwrap().contains("365 days"), "{gone}");
}

#[tokio::test]
async fn what_would_go_and_stay_is_said_before_anything_is_removed() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    world.receive(&world.ada_box, 1).await;
    let told = world.admin.get(&format!("mailboxes/{}/deletion", world.ada_box)).await;
    let version = told.headers["etag"].to_str().unwrap().to_owned();
    let told = told.expect(200);
    let stays = told["stays"].as_array().unwrap();
    let received = stays.iter().find(|part| part["what"] == "received emails").unwrap();
    assert_eq!(received["count"], 1);
    assert!(received["meaning"].as_str().unwrap().contains("stay with"), "{received}");
    world.ada.get(&format!("mailboxes/{}/deletion", world.ada_box)).await.problem(403, "");
    let path = format!("mailboxes/{}", world.ada_box);
    let remove = |tag: &str| {
        let request = world.admin.request(reqwest::Method::DELETE, &path).header("if-match", tag.to_owned());
        crate::client::answer(request)
    };
    remove("\"1\"").await.problem(412, "version");
    remove(&version).await.expect(204);
    world.admin.get(&path).await.problem(404, "id");
    let emails = world.ada.get("emails").await.expect(200);
    assert_eq!(emails["items"].as_array().unwrap().len(), 1, "her mail is there");

    let told = world.admin.get(&format!("profiles/{}/deletion", world.profile)).await.expect(200);
    assert!(told["refused"]["cause"].as_str().unwrap().contains("2 mailboxes still use"), "{told}");
    for path in [format!("queues/{}", world.support), format!("users/{}", world.bob_id)] {
        let told = world.admin.get(&format!("{path}/deletion")).await.expect(200);
        assert_eq!(told["refused"], Value::Null);
        world.admin.delete(&path).await.expect(204);
        world.admin.get(&path).await.problem(404, "id");
    }
    world.bob.get("me").await.problem(401, "Authorization");
}

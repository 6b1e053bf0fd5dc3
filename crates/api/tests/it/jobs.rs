//! Jobs that are asked for, wait for each other and are asked for again, and schedules that ask for them.

use serde_json::json;
use uuid::Uuid;

use crate::world::{id, world};

#[tokio::test]
async fn a_job_waits_for_another_is_canceled_and_asked_for_again() {
    let world = world().await;
    let first = world.admin.post("jobs", json!({"kind": "clean_up"})).await.expect(202);
    assert_eq!(
        (&first["held"], &first["max_attempts"], &first["after"]),
        (&json!(false), &json!(5), &json!(null))
    );
    let wanted = json!({"kind": "test_profile", "payload": {"profile": world.profile}, "after": first["id"]});
    let second = world.admin.post("jobs", wanted).await.expect(202);
    assert_eq!(
        (&second["held"], &second["after"], &second["state"]),
        (&json!(true), &first["id"], &json!("waiting"))
    );
    let path = format!("jobs/{}", id(&second));
    world.admin.post(&format!("{path}/retry"), json!({})).await.problem(409, "state");
    assert_eq!(world.admin.post(&format!("{path}/cancel"), json!({})).await.expect(200)["state"], "canceled");
    assert_eq!(world.admin.get("jobs?state=canceled").await.expect(200)["items"][0]["id"], second["id"]);
    let after = json!({"kind": "clean_up", "after": second["id"]});
    let refused = world.admin.post("jobs", after).await.problem(422, "after");
    assert!(refused["remedy"].as_str().unwrap().contains("retry"), "{refused}");
    let again = world.admin.post(&format!("{path}/retry"), json!({})).await.expect(202);
    assert_eq!((&again["state"], &again["held"]), (&json!("waiting"), &json!(true)));
    let actors = world.admin.get(&format!("changes?record_id={}", id(&second))).await.expect(200);
    assert_eq!(actors["items"].as_array().unwrap().len(), 3, "asked, canceled, asked again");
    world.admin.post(&format!("jobs/{}/retry", Uuid::nil()), json!({})).await.problem(404, "id");
}

#[tokio::test]
async fn a_job_that_is_done_to_nothing_that_is_there_is_refused() {
    let world = world().await;
    let nothing = Uuid::from_u128(7);
    for (kind, payload) in [
        ("test_and_enable", json!({"mailbox": nothing})),
        ("test_profile", json!({})),
        ("re_examine", json!({"decisions": ["recorded"]})),
        ("key_rotation", json!({"profile": world.profile})),
    ] {
        world.admin.post("jobs", json!({"kind": kind, "payload": payload})).await.problem(422, "payload");
    }
    world.admin.post("jobs", json!({"kind": "clean_up", "after": nothing})).await.problem(422, "after");
    world.admin.post("jobs", json!({"kind": "everything"})).await.problem(422, "kind");
}

#[tokio::test]
async fn a_schedule_is_made_shown_with_its_next_time_paused_resumed_and_removed() {
    let world = world().await;
    let wanted = json!({
        "name": "at night", "kind": "test_profile", "payload": {"profile": world.profile},
        "cron": "30 2 * * 1-5", "zone": "Europe/Berlin",
    });
    let made = world.admin.post("schedules", wanted.clone()).await.expect(201);
    assert!(made["next_at"].is_string() && made["last_job"].is_null(), "{made}");
    world.admin.post("schedules", wanted).await.problem(409, "name");
    let path = format!("schedules/{}", id(&made));
    let listed = world.admin.get("schedules?name=AT%20NIGHT").await.expect(200);
    assert_eq!(listed["items"], json!([made]));
    let all = world.admin.get("schedules").await.expect(200);
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["at night", "clean-up"], "every organization cleans up");
    let paused = world.admin.post(&format!("{path}/pause"), json!({})).await.expect(200);
    assert_eq!(
        (&paused["paused"], &paused["next_at"], &paused["version"]),
        (&json!(true), &json!(null), &json!(2))
    );
    let resumed = world.admin.post(&format!("{path}/resume"), json!({})).await.expect(200);
    assert_eq!((&resumed["paused"], &resumed["next_at"]), (&json!(false), &made["next_at"]));
    world.ada.get("schedules").await.problem(403, "");
    world.admin.delete(&path).await.expect(204);
    world.admin.get(&path).await.problem(404, "id");
    let changes = world.admin.get(&format!("changes?record_id={}", id(&made))).await.expect(200);
    assert_eq!(changes["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_schedule_that_says_no_time_or_two_is_refused_with_the_field() {
    let world = world().await;
    for (times, field) in [
        (json!({}), "cron"),
        (json!({"cron": "@daily", "at": "2030-01-01T00:00:00Z"}), "cron"),
        (json!({"zone": "UTC", "at": "2030-01-01T00:00:00Z"}), "zone"),
        (json!({"cron": "every night"}), "cron"),
        (json!({"cron": "0 0 30 2 *"}), "cron"),
        (json!({"cron": "* * * * * *"}), "cron"),
        (json!({"cron": "@daily", "zone": "Mars/Olympus"}), "zone"),
        (json!({"at": "-005000-01-01T00:00:00Z"}), "at"),
        (json!({"at": "tomorrow"}), "at"),
    ] {
        let mut wanted = json!({"name": "x", "kind": "clean_up"});
        wanted.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        world.admin.post("schedules", wanted).await.problem(422, field);
    }
    let once = json!({"name": "x", "kind": "clean_up", "at": "2030-01-01T00:00:00Z"});
    let once = world.admin.post("schedules", once).await.expect(201);
    assert_eq!(
        (&once["at"], &once["next_at"], &once["cron"]),
        (&json!("2030-01-01T00:00:00Z"), &json!("2030-01-01T00:00:00Z"), &json!(null))
    );
}

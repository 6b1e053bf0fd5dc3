//! The whole picture: what fails, what Lockstep switched off, and what is held back until when and why.

use std::time::Duration;

use model::endpoint::{Endpoint, Protocol, Tls};
use serde_json::{Value, json};

use crate::world::world;

#[tokio::test]
async fn what_fails_is_switched_off_or_held_back_is_told_with_the_reason() {
    let world = world().await;
    for mailbox in [&world.ada_box, &world.bob_box, &world.support_box] {
        world.enable(mailbox).await;
    }
    let workload = |status: Value, place: &str| status.pointer(place).cloned().unwrap_or_default();
    let calm = world.admin.get("status").await.expect(200);
    for list in ["failing", "disabled", "held_back", "held_profiles"] {
        assert_eq!(calm[list]["total"], 0, "{calm}");
    }
    assert_eq!(workload(calm, "/workloads/0/enabled"), 3);

    let owner = world.served.database.owner().await.unwrap();
    owner
        .batch_execute(&format!(
            "update schedules set failures = 3, not_before = now() + interval '5 minutes', not_before_reason = 'retry'
             where mailbox_id = '{}' and workload = 'incoming';
             update mailbox_workloads set enabled = false, disabled_by = 'credentials_refused'
             where mailbox_id = '{}' and workload = 'outgoing'",
            world.ada_box, world.bob_box
        ))
        .await
        .unwrap();
    let troubled = world.admin.get("status").await.expect(200);
    assert_eq!(troubled["failing"]["total"], 1);
    assert_eq!(troubled["failing"]["first"][0]["failures"], 3);
    assert_eq!(troubled["disabled"]["first"][0]["disabled_by"]["kind"], "credentials_refused");
    assert_eq!(troubled["held_back"]["first"][0]["held_back"]["because"], "retry");
    assert_eq!(troubled["workloads"][0]["late"], 2, "what waits out a back-off is not late");
    let failing = world.admin.get("mailboxes?failing=true").await.expect(200);
    assert_eq!(failing["items"].as_array().unwrap().len(), 2);
    let ada = world.admin.get(&format!("mailboxes/{}", world.ada_box)).await.expect(200);
    assert_eq!(workload(ada, "/workloads/0/schedule/held_back/because"), "retry");

    let smtp = Endpoint { protocol: Protocol::Smtp, host: "127.0.0.1".into(), port: 587, tls: Tls::StartTls };
    let tenant = world.tenant().await;
    let pause = Duration::from_secs(600);
    store::health::server_failed(&tenant, world.profile.parse().unwrap(), &smtp, pause).await.unwrap();
    tenant.commit().await.unwrap();
    let down = world.admin.get("status").await.expect(200);
    assert_eq!(down["held_profiles"]["first"][0]["held_back"]["because"], "server_down");
    assert_eq!(
        (down["workloads"][1]["late"].as_i64(), down["workloads"][0]["late"].as_i64()),
        (Some(0), Some(2))
    );
    let support = world.ada.get(&format!("mailboxes/{}", world.support_box)).await.expect(200);
    assert_eq!(workload(support.clone(), "/workloads/1/schedule/held_back/because"), "server_down");
    assert_eq!(workload(support, "/workloads/0/schedule/held_back"), Value::Null);

    world.admin.patch(&format!("profiles/{}", world.profile), json!({"paused": true})).await.expect(200);
    let paused = world.admin.get("status").await.expect(200);
    assert_eq!(
        (paused["held_profiles"]["total"].as_i64(), paused["workloads"][0]["late"].as_i64()),
        (Some(2), Some(0))
    );
}

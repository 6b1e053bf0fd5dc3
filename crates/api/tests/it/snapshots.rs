//! A few bodies as a whole, so that a change of a shape is seen by whoever reviews it.

use insta::assert_json_snapshot;
use serde_json::json;

use crate::world::{id, world};

#[tokio::test]
async fn bodies_look_as_agreed() {
    let world = world().await;
    world.enable(&world.ada_box).await;
    let email = world.receive(&world.ada_box, 1).await;
    let draft = json!({"from": world.ada_box, "to": [{"address": "bob@example.com"}], "subject": "Engine", "text": "Works."});
    let draft = id(&world.ada.post("emails", draft).await.expect(201));
    world.ada.post(&format!("emails/{draft}/send"), json!({})).await.expect(202);
    let bodies = [
        ("me", "me".to_owned()),
        ("profile", format!("profiles/{}", world.profile)),
        ("mailbox", format!("mailboxes/{}", world.ada_box)),
        ("email_received", format!("emails/{email}")),
        ("email_body", format!("emails/{email}/body")),
        ("email_pending", format!("emails/{draft}")),
        ("mailbox_items", format!("mailboxes/{}/items", world.ada_box)),
        ("status", "status".to_owned()),
        ("setting", "settings/max_message_mb".to_owned()),
        ("problem_not_found", "users/01989c5e-7d5e-7cc0-8000-000000000000".to_owned()),
    ];
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]");
    settings.add_filter(r#""message_id": "[\w-]+@example.com""#, r#""message_id": "[random]@example.com""#);
    for (name, path) in bodies {
        let body = world.admin.get(&path).await.json();
        settings.bind(|| {
            assert_json_snapshot!(name, body, {
                ".workloads[].oldest_late_seconds" => "[seconds]",
                ".sends.oldest_seconds" => "[seconds]",
            });
        });
    }
}

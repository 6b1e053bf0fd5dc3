//! Two organizations of one installation: neither learns of the other. What either may call is walked in `audience`.

use serde_json::json;

use crate::world::{id, world};

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

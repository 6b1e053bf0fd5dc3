//! temporary
use crate::world::*;
use std::time::Instant;
#[tokio::test]
async fn speed() {
    let world = world().await;
    let owner = world.database.owner().await.unwrap();
    let listing: Vec<String> = (0..10000).map(|n| format!("u{n}")).collect();
    let tenant = world.tenant().await;
    for _ in 0..8 { store::item::unknown(&tenant, world.ada_box, "f", &listing[..1]).await.unwrap(); store::item::mark_gone(&tenant, world.ada_box, "f", &listing[..1]).await.unwrap(); }
    owner.execute("insert into mailbox_items (organization_id, mailbox_id, folder, item_id, decision, rule)
             select $1, $2, 'f', 'u' || n, 'recorded', 'all' from generate_series(1, 10000) n", &[&world.organization.0, &world.ada_box.0]).await.unwrap();
    for _ in 0..3 { let t = Instant::now();
    assert_eq!(store::item::unknown(&tenant, world.ada_box, "f", &listing).await.unwrap().len(), 1);
    eprintln!("unknown {:?}", t.elapsed()); 
    let t = Instant::now();
    store::item::mark_gone(&tenant, world.ada_box, "f", &listing).await.unwrap();
    eprintln!("gone {:?}", t.elapsed()); }
}

//! Row-level security and the two roles.

use crate::support::database;

#[tokio::test]
async fn two_tenants_in_turn_on_a_pool_of_one_connection_see_nothing_of_each_other() {
    let database = database().await;
    let (first, second) = (database.organization("first").await.unwrap(), database.organization("second").await.unwrap());
    let _ = (first, second);
    store::migrate::check(&database.store).await.unwrap();
    store::installation::check(&database.store, database.installation).await.unwrap();
}

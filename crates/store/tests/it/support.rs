//! What the tests of this binary share: one server, a database per test.

use store::testing::TestDatabase;

/// A database of the test's own.
pub(crate) async fn database() -> TestDatabase {
    let owner = std::env::var("STORE_TEST_OWNER").unwrap_or_else(|_| "postgres://owner@127.0.0.1:15777/postgres".into());
    TestDatabase::create(&owner).await.unwrap()
}

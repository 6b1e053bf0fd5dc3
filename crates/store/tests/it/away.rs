//! A database that cannot be asked: every failure says that it passes, and nothing stays broken.

use std::time::Duration;

use store::testing::{TestDatabase, config};
use store::{Config, Conflict, Error, Store, session};

use crate::support::{DEAD_AFTER, database, in_ring};

#[tokio::test]
async fn a_database_that_stops_is_away_and_then_works_again() {
    let server = servers::Postgres::start().await;
    let database = TestDatabase::create(&server.owner_url("postgres")).await.unwrap();
    let store = &database.store;
    let alive = in_ring(store, async |ring| session::start(ring, "test", 1, DEAD_AFTER).await).await;
    let open = store.ring().await.unwrap();
    server.stop().await;
    assert!(matches!(session::beat(&open, alive).await, Err(Error::Away(_))));
    drop(open);
    for _ in 0..3 {
        let answer = store.ring().await.map(|_| ());
        assert!(matches!(answer, Err(Error::Away(_))), "{answer:?}");
    }
    server.start_again().await;
    let beat = in_ring(store, async |ring| session::beat(ring, alive).await).await;
    assert_eq!(beat, session::Beat::Alive);
}

#[tokio::test]
async fn a_pool_without_a_free_connection_is_away() {
    let database = database().await;
    let narrow = Config { pool_size: 1, pool_wait_seconds: 1, ..config(database.url.clone()) };
    let store = Store::open(&narrow).unwrap();
    let taken = store.ring().await.unwrap();
    assert!(matches!(store.ring().await, Err(Error::Away(_))));
    drop(taken);
    store.ring().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_waits_for_too_long_is_away() {
    let database = database().await;
    let impatient = Config { statement_timeout_seconds: 1, ..config(database.url.clone()) };
    let store = Store::open(&impatient).unwrap();
    let mut owner = database.owner().await.unwrap();
    let held = owner.transaction().await.unwrap();
    held.batch_execute("lock table sessions").await.unwrap();
    let ring = store.ring().await.unwrap();
    let answer = session::start(&ring, "test", 1, Duration::from_secs(15)).await;
    assert!(matches!(answer, Err(Error::Away(_))), "{answer:?}");
}

#[tokio::test]
async fn a_broken_rule_is_named_and_shows_no_value() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let tenant = database.store.tenant(organization).await.unwrap();
    let mailbox = model::clock::new_id();
    let profile = model::clock::new_id();
    let workload = model::workload::Workload::Incoming;
    let error = store::schedule::create(&tenant, mailbox, workload, profile).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { kind: Conflict::Reference, .. }), "{error:?}");
    assert_eq!(error.constraint(), Some("schedules_organization_id_mailbox_id_fkey"));
    assert!(!format!("{error:?} {error}").contains(&mailbox.to_string()));
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_refused_without_its_password() {
    let refused =
        Store::open(&config("postgres://app:hunter2@[::1/lockstep?x=y".to_owned().into())).unwrap_err();
    assert!(refused.to_string().contains("database.url"), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_server_is_set_to() {
    let careless = servers::Postgres::start().await;
    let database = TestDatabase::create(&careless.owner_url("postgres")).await.unwrap();
    let set = database.owner().await.unwrap().query_one("show synchronous_commit", &[]).await.unwrap();
    assert_eq!(set.get::<_, &str>(0), "off");
    // What no session can change is told.
    assert_eq!(database.store.lacking_durability().await.unwrap(), ["fsync", "full_page_writes"]);
    let durable = servers::Postgres::durable().await;
    let database = TestDatabase::create(&durable.owner_url("postgres")).await.unwrap();
    assert!(database.store.lacking_durability().await.unwrap().is_empty());
}

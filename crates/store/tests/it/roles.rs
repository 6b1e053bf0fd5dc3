//! Row-level security and the two roles, on the login that the application uses.

use std::panic::AssertUnwindSafe;

use model::id::OrganizationId;
use store::testing::{TestDatabase, config};
use store::{Store, migrate};
use tokio_postgres::{Client, NoTls};

use crate::support::{database, mailboxes, one, profile};

/// A session of the application's login, for asking what the store's own functions would never ask.
async fn application(database: &TestDatabase) -> Client {
    use secrecy::ExposeSecret as _;
    let (client, connection) = tokio_postgres::connect(database.url.expose_secret(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// How many profiles each of two organizations shows, in turn.
async fn seen(store: &Store, organization: OrganizationId) -> usize {
    let tenant = store.tenant(organization).await.unwrap();
    let jobs = store::job::list(&tenant, &store::job::Page { limit: 100, ..store::job::Page::default() })
        .await
        .unwrap();
    jobs.len()
}

async fn ask(store: &Store, organization: OrganizationId, commit: bool) {
    let tenant = store.tenant(organization).await.unwrap();
    let job = store::job::NewJob {
        kind: model::job::JobKind::TestAndEnable,
        payload: serde_json::json!({}),
        max_attempts: 1,
        after: None,
    };
    let author = store::change::Author::new(model::actor::Actor::Operator, "test");
    store::job::create(&tenant, &job, &author, std::time::Duration::ZERO).await.unwrap();
    if commit {
        tenant.commit().await.unwrap();
    }
}

#[tokio::test]
async fn two_tenants_in_turn_on_a_pool_of_one_connection_see_nothing_of_each_other() {
    let database = database().await;
    let (first, second) =
        (database.organization("first").await.unwrap(), database.organization("second").await.unwrap());
    let store = Store::open(&store::Config { pool_size: 1, ..config(database.url.clone()) }).unwrap();

    ask(&store, first, true).await;
    assert_eq!((seen(&store, first).await, seen(&store, second).await), (1, 0));

    // A rollback in between: what was dropped is not there, for nobody, and its organization is forgotten.
    ask(&store, first, false).await;
    assert_eq!((seen(&store, second).await, seen(&store, first).await), (0, 1));

    // A panic in between, in the middle of a transaction.
    let panicked = tokio::spawn({
        let store = store.clone();
        async move {
            let tenant = store.tenant(first).await.unwrap();
            store::schedule::poke(&tenant).await.unwrap();
            panic!("in the middle of a transaction");
        }
    })
    .await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!((seen(&store, second).await, seen(&store, first).await), (0, 1));

    // A future that is dropped while it waits for the answer to its begin.
    for _ in 0..20 {
        use futures_util::FutureExt as _;
        let _ = AssertUnwindSafe(store.tenant(first)).now_or_never();
        assert_eq!((seen(&store, second).await, seen(&store, first).await), (0, 1));
    }

    // A statement that fails in between.
    let tenant = store.tenant(first).await.unwrap();
    assert!(store::change::of(&tenant, "\0", uuid::Uuid::nil(), 0, 1).await.is_err());
    drop(tenant);
    ask(&store, second, true).await;
    assert_eq!((seen(&store, first).await, seen(&store, second).await), (1, 1));
}

#[tokio::test]
async fn a_transaction_that_failed_cannot_be_committed_by_mistake() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let tenant = database.store.tenant(organization).await.unwrap();
    let _ = store::change::of(&tenant, "\0", uuid::Uuid::nil(), 0, 1).await;
    let refused = tenant.commit().await.unwrap_err();
    assert!(matches!(refused, store::Error::Broken(_)), "{refused}");
}

#[tokio::test]
async fn a_failed_attempt_leaves_the_rest_of_its_transaction() {
    let one = one().await;
    let tenant = one.tenant().await;
    let author = store::change::Author::new(model::actor::Actor::Operator, "test");
    let job = store::job::NewJob {
        kind: model::job::JobKind::TestAndEnable,
        payload: serde_json::json!({}),
        max_attempts: 1,
        after: None,
    };
    store::job::create(&tenant, &job, &author, std::time::Duration::ZERO).await.unwrap();
    let failed: store::Result<()> = tenant
        .attempt(async |tenant| {
            store::job::create(tenant, &job, &author, std::time::Duration::ZERO).await?;
            // Broken by Postgres itself, so that the transaction would be lost without the savepoint.
            store::change::of(tenant, "\0", uuid::Uuid::nil(), 0, 1).await.map(|_| ())
        })
        .await;
    assert!(failed.is_err());
    tenant.commit().await.unwrap();
    assert_eq!(seen(&one.store, one.organization).await, 1);
}

#[tokio::test]
async fn a_tenants_transaction_without_an_organization_is_an_error() {
    let one = one().await;
    let client = application(&one.database).await;
    for table in ["mailboxes", "schedules", "emails", "organizations"] {
        client.batch_execute("begin; set local role lockstep_tenant").await.unwrap();
        let error = client.query(&format!("select count(*) from {table}"), &[]).await.unwrap_err();
        assert!(
            error.as_db_error().unwrap().message().contains("lockstep.organization"),
            "{table}: {error:?}"
        );
        client.batch_execute("rollback").await.unwrap();
    }
    // Set and ended by an earlier transaction of the same session, it is an error again, not the old value.
    client
        .batch_execute(&format!(
            "begin; set local role lockstep_tenant; set local lockstep.organization = '{}'; select 1; commit",
            one.organization
        ))
        .await
        .unwrap();
    client.batch_execute("begin; set local role lockstep_tenant").await.unwrap();
    assert!(client.query("select count(*) from mailboxes", &[]).await.is_err());
}

#[tokio::test]
async fn the_bare_login_may_read_nothing() {
    let one = one().await;
    let client = application(&one.database).await;
    for table in tables(&one.database).await {
        let error = client.query(&format!("select count(*) from {table}"), &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{table}");
    }
}

#[tokio::test]
async fn a_tenant_writes_for_no_other_organization() {
    let one = one().await;
    let other = one.database.organization("other").await.unwrap();
    let client = application(&one.database).await;
    client
        .batch_execute(&format!(
            "begin; set local role lockstep_tenant; set local lockstep.organization = '{}'",
            one.organization
        ))
        .await
        .unwrap();
    let error = client
        .execute("insert into settings (organization_id, name, value) values ($1, 'x', '1')", &[&other.0])
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
}

#[tokio::test]
async fn the_ring_reads_no_mail_and_no_secrets() {
    let one = one().await;
    let client = application(&one.database).await;
    let allowed = [
        "select count(*) from schedules",
        "select id, max_connections, paused_reason from profiles",
        "select id, state from emails",
        "select id, not_before from send_requests",
        "select state, next_try_at from send_recipients",
        "select id, state from jobs",
        "select id from sessions",
        // What the end of a cycle writes that changed nothing else (decision 0065).
        "update schedules set quiet_cycles = 0, failures = 0, refusals = 0, first_refused_at = null, held_since = null,
             last_outcome = 'done', last_items = 0, last_finished_at = now()",
    ];
    let refused = [
        "select subject from emails",
        "select message_id from emails",
        "select owner_id from emails",
        "select message_id from send_requests",
        "select address from send_recipients",
        "select server_said from send_recipients",
        "select payload from jobs",
        "select result from jobs",
        "select incoming_host from profiles",
        "select name from profiles",
        "select 1 from mailboxes",
        "select 1 from credentials",
        "select 1 from api_keys",
        "select 1 from email_copies",
        "select 1 from email_parties",
        "select 1 from addresses",
        "select 1 from contacts",
        "select 1 from users",
        "select 1 from blob_chunks",
        "select 1 from mailbox_items",
        "select 1 from changes",
        "select 1 from organizations",
        "update schedules set organization_id = organization_id",
        "update schedules set mailbox_id = mailbox_id",
        "update schedules set workload = workload",
        "update schedules set profile_id = profile_id",
        "update profiles set paused_reason = null",
        "delete from schedules",
        "delete from jobs",
    ];
    for (statement, may) in
        allowed.iter().map(|one| (one, true)).chain(refused.iter().map(|one| (one, false)))
    {
        client.batch_execute("begin; set local role lockstep_ring").await.unwrap();
        let answer = client.query(*statement, &[]).await;
        match answer {
            Ok(_) => assert!(may, "the ring must not: {statement}"),
            Err(error) => assert!(!may && error.code().unwrap().code() == "42501", "{statement}: {error:?}"),
        }
        client.batch_execute("rollback").await.unwrap();
    }
}

/// Tables that belong to the operator, not to a tenant.
const OPERATORS: [&str; 4] = ["installation", "sessions", "turns", "refinery_schema_history"];

/// The keys that hold over the whole installation: a mailbox is synchronized once, and a key says whose it is.
const INSTALLATION_WIDE: [&str; 4] = [
    "api_keys_hash_key",
    "mailboxes_address_installation",
    "mailboxes_login_installation",
    "organizations_name_key",
];

async fn tables(database: &TestDatabase) -> Vec<String> {
    let rows = database
        .owner()
        .await
        .unwrap()
        .query("select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_table_of_a_tenant_has_forced_row_level_security() {
    let database = database().await;
    let unbound = database
        .owner()
        .await
        .unwrap()
        .query(
            "select c.relname::text from pg_class c
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
               and c.relname <> all($1)
               and not (c.relrowsecurity and c.relforcerowsecurity
                        and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant'
                                    and p.polwithcheck is not null))",
            &[&OPERATORS.as_slice()],
        )
        .await
        .unwrap();
    let unbound: Vec<String> = unbound.iter().map(|row| row.get(0)).collect();
    assert_eq!(unbound, Vec::<String>::new());
}

#[tokio::test]
async fn every_unique_and_foreign_key_of_a_tenants_table_contains_the_organization() {
    let database = database().await;
    let owner = database.owner().await.unwrap();
    let unique = owner
        .query(
            "select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indrelid
             where c.relnamespace = 'public'::regnamespace and i.indisunique and c.relname <> all($1)
               and c.relname <> 'organizations'
               and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id'
                               and a.attnum = any(i.indkey))
             order by 1",
            &[&OPERATORS.as_slice()],
        )
        .await
        .unwrap();
    let unique: Vec<String> = unique.iter().map(|row| row.get(0)).collect();
    let known: Vec<_> = INSTALLATION_WIDE.iter().filter(|name| **name != "organizations_name_key").collect();
    assert!(unique.iter().all(|name| known.contains(&&name.as_str())), "{unique:?}");
    let foreign = owner
        .query(
            "select k.conname::text from pg_constraint k join pg_class c on c.oid = k.conrelid
             where c.relnamespace = 'public'::regnamespace and k.contype = 'f'
               and not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id'
                               and a.attnum = any(k.conkey))",
            &[],
        )
        .await
        .unwrap();
    assert!(
        foreign.is_empty(),
        "{:?}",
        foreign.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn every_foreign_key_has_an_index_that_finds_its_rows() {
    let database = database().await;
    // Deleting or changing what is pointed to looks for the rows that point; the organization alone is no index.
    let bare = database
        .owner()
        .await
        .unwrap()
        .query(
            "select k.conrelid::regclass::text || ' ' || k.conname from pg_constraint k
             where k.contype = 'f' and k.connamespace = 'public'::regnamespace and array_length(k.conkey, 1) > 1
               and not exists (
                   select from pg_index i where i.indrelid = k.conrelid
                     and (i.indkey::int2[])[0:array_length(k.conkey, 1) - 1] @> k.conkey)
             order by 1",
            &[],
        )
        .await
        .unwrap();
    let bare: Vec<String> = bare.iter().map(|row| row.get(0)).collect();
    assert_eq!(bare, Vec::<String>::new());
}

#[tokio::test]
async fn a_superuser_is_refused_as_the_applications_login() {
    let database = database().await;
    let store = Store::open(&config(database.owner_url.clone())).unwrap();
    let refused = migrate::check(&store).await.unwrap_err();
    assert!(matches!(refused, migrate::Unready::Unbound(_)), "{refused}");
}

#[tokio::test]
async fn a_deleted_organization_is_refused_while_it_has_rows() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 1).await;
    mailboxes(&database, organization, profile, 1).await;
    let owner = database.owner().await.unwrap();
    let error =
        owner.execute("delete from organizations where id = $1", &[&organization.0]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "23503");
}

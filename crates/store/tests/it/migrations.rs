//! Migrations, the application's login and the installation id.

use model::id::InstallationId;
use model::secret::Secret;
use secrecy::ExposeSecret as _;
use store::migrate::{self, Migration, Unready};
use store::testing::{TestDatabase, config};
use store::{Store, installation};
use uuid::Uuid;

use crate::support::database;

/// An empty database beside a test's own, with a login of its own that does not exist yet.
async fn empty(database: &TestDatabase) -> Migration {
    let name = format!("empty_{}", model::clock::new_id::<Uuid>().simple());
    let owner = database.owner().await.unwrap();
    owner.batch_execute(&format!("create database {name}")).await.unwrap();
    let address = |url: &Secret, login: Option<&str>| {
        let url = url.expose_secret();
        let (front, _) = url.rsplit_once('/').unwrap();
        let (scheme, rest) = front.split_once("://").unwrap();
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
        let login = login.map_or_else(
            || rest.rsplit_once('@').map_or("", |(login, _)| login).to_owned(),
            ToOwned::to_owned,
        );
        Secret::from(format!("{scheme}://{login}@{server}/{name}"))
    };
    Migration {
        owner_url: address(&database.owner_url, None),
        application_url: address(&database.owner_url, Some(&format!("{name}:it's%20a%20%22secret%22"))),
        ca_file: String::new(),
        installation: model::clock::new_id(),
    }
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    let database = database().await;
    let migration = empty(&database).await;
    let first = migrate::run(&migration).await.unwrap();
    assert_eq!(first.version, migrate::latest());
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    assert_eq!(first.applied.len(), files.count());
    assert!(first.login_created);
    let other = Migration { installation: model::clock::new_id(), ..migration.clone() };
    let second = migrate::run(&other).await.unwrap();
    assert_eq!(second.applied, Vec::<String>::new());
    assert!(!second.login_created);
    assert_eq!(second.installation, migration.installation, "the first one named it");
    let store = Store::open(&config(migration.application_url.clone())).unwrap();
    migrate::check(&store).await.unwrap();
    installation::check(&store, migration.installation).await.unwrap();
}

#[tokio::test]
async fn two_migrations_at_once_apply_everything_once() {
    let database = database().await;
    let migration = empty(&database).await;
    let (first, second, third) =
        tokio::join!(migrate::run(&migration), migrate::run(&migration), migrate::run(&migration));
    let reports = [first.unwrap(), second.unwrap(), third.unwrap()];
    assert_eq!(reports.iter().filter(|report| !report.applied.is_empty()).count(), 1);
    assert_eq!(reports.iter().filter(|report| report.login_created).count(), 1);
    let store = Store::open(&config(migration.application_url)).unwrap();
    migrate::check(&store).await.unwrap();
}

#[tokio::test]
async fn a_role_does_not_start_on_an_empty_or_older_database() {
    let database = database().await;
    let migration = empty(&database).await;
    let owner = database.owner().await.unwrap();
    let store = Store::open(&config(database.url.clone())).unwrap();
    migrate::check(&store).await.unwrap();

    // The login exists and is a member of the roles, the tables are not there.
    let url = migration.owner_url.expose_secret().rsplit_once('/').unwrap().1.to_owned();
    let here = database.url.expose_secret().rsplit_once('/').unwrap().0.to_owned();
    let bare = Store::open(&config(Secret::from(format!("{here}/{url}")))).unwrap();
    let refused = migrate::check(&bare).await.unwrap_err();
    assert!(matches!(refused, Unready::Older { found: 0, .. }), "{refused:?}");

    owner.execute("delete from refinery_schema_history where version > 1", &[]).await.unwrap();
    let refused = migrate::check(&store).await.unwrap_err();
    assert!(
        matches!(refused, Unready::Older { found: 1, needed } if needed == migrate::latest()),
        "{refused:?}"
    );

    // A login of somebody else's.
    let login = format!("stranger_{}", model::clock::new_id::<Uuid>().simple());
    owner.batch_execute(&format!("create role {login} login")).await.unwrap();
    let port = here.rsplit_once('@').unwrap().1;
    let name = database.url.expose_secret().rsplit_once('/').unwrap().1;
    let stranger = Store::open(&config(Secret::from(format!("postgres://{login}@{port}/{name}")))).unwrap();
    let refused = migrate::check(&stranger).await.unwrap_err();
    assert!(matches!(refused, Unready::NotPrepared(_)), "{refused:?}");
}

#[tokio::test]
async fn a_copied_database_is_refused_until_it_is_adopted() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = crate::support::profile(&database, organization, 5).await;
    crate::support::mailboxes(&database, organization, profile, 3).await;
    installation::check(&database.store, database.installation).await.unwrap();
    let configured: InstallationId = model::clock::new_id();
    let refused = installation::check(&database.store, configured).await.unwrap_err();
    assert!(
        matches!(refused, installation::Refused::AnotherInstallation { found, .. } if found == database.installation)
    );
    assert!(refused.to_string().contains("`lockstep adopt`"));
    let schedules =
        "insert into job_schedules (organization_id, id, name, kind, cron, zone, due_at, created_by)
                     select $1, gen_random_uuid(), kind, kind, '@daily', 'UTC', now(), 'operator:operator'
                     from unnest(array['clean_up', 'key_rotation']) kind";
    let owner = database.owner().await.unwrap();
    owner.execute(schedules, &[&organization.0]).await.unwrap();

    let adopted = installation::adopt(&database.owner_url, "", configured).await.unwrap();
    assert_eq!((adopted.before, adopted.workloads), (database.installation, 6));
    installation::check(&database.store, configured).await.unwrap();
    assert_eq!(
        crate::support::scan(&database.store, 100).await,
        vec![],
        "nothing runs before it is tested again"
    );
    let still = "select array_agg(name) from job_schedules where not paused";
    let still: Vec<String> = owner.query_one(still, &[]).await.unwrap().get(0);
    assert_eq!(still, ["clean_up"], "and nothing is asked for by the clock but cleaning up");
    assert_eq!(installation::adopt(&database.owner_url, "", configured).await.unwrap().workloads, 0);
}

#[tokio::test]
async fn a_superuser_is_not_prepared_as_the_applications_login() {
    let database = database().await;
    let migration = empty(&database).await;
    let migration = Migration { application_url: migration.owner_url.clone(), ..migration };
    let refused = migrate::run(&migration).await.unwrap_err();
    assert!(refused.to_string().contains("superuser"), "{refused}");
}

//! A database per test, copied from a migrated template, and a way to pass time in it. The store connects as a
//! login without rights, so that row-level security is really in force.

use std::time::Duration;

use model::id::{InstallationId, OrganizationId};
use model::secret::Secret;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::connection::parse;
use crate::migrate::{self, Migration, quoted};
use crate::{Config, Error, Result, Store};

/// The login that the tests' stores use.
const LOGIN: &str = "lockstep_test";

/// A database of one test's own. It stays on its server when the test ends; a server of tests is thrown away whole.
#[derive(Debug)]
pub struct TestDatabase {
    /// The store, connected as the application's login.
    pub store: Store,
    /// The configuration that the store was opened with, for other processes of the same test.
    pub config: Config,
    /// The application's address of this database.
    pub url: Secret,
    /// The owner's address of this database.
    pub owner_url: Secret,
    /// The installation that the database belongs to.
    pub installation: InstallationId,
}

impl TestDatabase {
    /// Makes a database on the server whose superuser signs in at `owner_url`.
    pub async fn create(owner_url: &str) -> Result<Self> {
        let server = Server(parse(&Secret::from(owner_url.to_owned()))?.config);
        let template = server.template().await?;
        Self::copied(&server, &template).await
    }

    /// A second database with everything that is in this one, whose sessions all end: tests that spoil what they touch
    /// each take a copy of what was costly to make.
    pub async fn copy(&self) -> Result<Self> {
        let parsed = parse(&self.owner_url)?.config;
        let name = parsed.get_dbname().unwrap_or_default().to_owned();
        let server = Server(parsed);
        server
            .owner(Some("postgres"))
            .await?
            .execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1",
                &[&name],
            )
            .await?;
        Self::copied(&server, &name).await
    }

    async fn copied(server: &Server, template: &str) -> Result<Self> {
        let name = format!("test_{}", model::clock::new_id::<Uuid>().simple());
        server
            .owner(Some("postgres"))
            .await?
            .batch_execute(&format!("create database {} template {}", quoted(&name), quoted(template)))
            .await?;
        let (url, owner_url) = (server.url(LOGIN, &name), server.owner_url(&name));
        let config = config(url.clone());
        let store = Store::open(&config)?;
        Ok(Self { store, config, url, owner_url, installation: InstallationId(INSTALLATION) })
    }

    /// A session of the owner, whom row-level security does not bind: for looking at what a test did.
    pub async fn owner(&self) -> Result<Client> {
        migrate::owner(&self.owner_url, "").await
    }

    /// An organization with nothing in it.
    pub async fn organization(&self, name: &str) -> Result<OrganizationId> {
        let organization: OrganizationId = model::clock::new_id();
        self.owner()
            .await?
            .execute("insert into organizations (id, name) values ($1, $2)", &[&organization.0, &name])
            .await?;
        Ok(organization)
    }
}

/// What a test's store is opened with.
pub fn config(url: Secret) -> Config {
    Config {
        url,
        ca_file: String::new(),
        pool_size: 8,
        pool_wait_seconds: 30,
        connect_timeout_seconds: 10,
        statement_timeout_seconds: 30,
        idle_transaction_timeout_seconds: 60,
    }
}

/// Lets `duration` pass: moves every point in time that the database knows back by it. Services may be running on the
/// database; where one of their transactions and this one wait for each other, Postgres ends one of them, and this
/// one tries again.
pub async fn pass(database: &TestDatabase, duration: Duration) -> Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match move_back(database, duration).await {
            Err(Error::Away(_)) if tries < 10 => {}
            moved => return moved,
        }
    }
}

async fn move_back(database: &TestDatabase, duration: Duration) -> Result<()> {
    let mut owner = database.owner().await?;
    let columns = owner
        .query(
            "select c.relname::text, array_agg(a.attname::text) from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
               and a.atttypid = 'timestamptz'::regtype and a.attgenerated = ''
             group by c.relname",
            &[],
        )
        .await?;
    let transaction = owner.transaction().await?;
    for row in columns {
        let (table, columns): (String, Vec<String>) = (row.get(0), row.get(1));
        let sets: Vec<String> = columns
            .iter()
            .map(|column| format!("{0} = {0} - make_interval(secs => $1)", quoted(column)))
            .collect();
        let statement = format!("update {} set {}", quoted(&table), sets.join(", "));
        transaction.execute(&statement, &[&duration.as_secs_f64()]).await?;
    }
    Ok(transaction.commit().await?)
}

/// Every test database is a copy of one template, and so of one installation.
const INSTALLATION: Uuid = Uuid::from_u128(0x6c6f_636b_7374_6570_0000_0000_0000_0001);

/// The server that tests make their databases on.
struct Server(tokio_postgres::Config);

impl Server {
    /// The migrated template, made by whoever comes first. Its name carries the migrations' checksums, so that a
    /// server which outlives a build never serves an old schema.
    async fn template(&self) -> Result<String> {
        let name = format!("lockstep_template_{:016x}", migrate::checksum());
        let mut owner = self.owner(None).await?;
        let turn = owner.transaction().await?;
        turn.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&name]).await?;
        if turn.query_opt("select from pg_database where datname = $1", &[&name]).await?.is_none() {
            // CREATE DATABASE runs outside of a transaction: in a second session, while this one holds the turn.
            let maker = self.owner(None).await?;
            let half_made = format!("{name}_half_made");
            maker
                .batch_execute(&format!("drop database if exists {} with (force)", quoted(&half_made)))
                .await?;
            maker.batch_execute(&format!("create database {}", quoted(&half_made))).await?;
            let migration = Migration {
                owner_url: self.owner_url(&half_made),
                application_url: self.url(LOGIN, &half_made),
                ca_file: String::new(),
                installation: InstallationId(INSTALLATION),
            };
            migrate::run(&migration).await?;
            // The migration's own session may take a moment to leave.
            maker
                .batch_execute(&format!(
                    "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{half_made}'"
                ))
                .await?;
            maker
                .batch_execute(&format!("alter database {} rename to {}", quoted(&half_made), quoted(&name)))
                .await?;
        }
        turn.commit().await?;
        Ok(name)
    }

    async fn owner(&self, database: Option<&str>) -> Result<Client> {
        let database = database.or(self.0.get_dbname()).unwrap_or("postgres");
        migrate::owner(&self.owner_url(database), "").await
    }

    fn owner_url(&self, database: &str) -> Secret {
        let user = self.0.get_user().unwrap_or("postgres");
        let password = self.0.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
        self.address(user, password.as_deref(), database)
    }

    fn url(&self, user: &str, database: &str) -> Secret {
        self.address(user, Some("lockstep"), database)
    }

    fn address(&self, user: &str, password: Option<&str>, database: &str) -> Secret {
        let host = match self.0.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        let password = password.map(|password| format!(":{password}")).unwrap_or_default();
        Secret::from(format!("postgres://{user}{password}@{host}:{port}/{database}"))
    }
}

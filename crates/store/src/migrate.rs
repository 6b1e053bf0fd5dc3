//! Brings a database to the schema of this binary, with the owner's login, and prepares the login that everything
//! else uses. Safe to run twice and by several replicas at once; never runs by itself.

use model::id::InstallationId;
use model::secret::Secret;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::connection::{connect, parse};
use crate::{Error, Result, Store, change};

mod embedded {
    //! The files of `migrations/`, compiled in.
    refinery::embed_migrations!("migrations");
}

/// What [`run`] needs.
#[derive(Clone, Debug)]
pub struct Migration {
    /// The owner's login: it creates tables, roles and the application's login.
    pub owner_url: Secret,
    /// The application's login, as the roles will use it; created when it is missing.
    pub application_url: Secret,
    /// PEM file with authorities for Postgres's certificate; may be empty.
    pub ca_file: String,
    /// The installation that an empty database will belong to.
    pub installation: InstallationId,
}

/// What [`run`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The migrations that were applied now, by name; empty when the schema was already there.
    pub applied: Vec<String>,
    /// The schema's version now.
    pub version: i32,
    /// The application's login.
    pub login: String,
    /// Whether the login was missing and was created.
    pub login_created: bool,
    /// The installation that the database belongs to.
    pub installation: InstallationId,
    /// It belonged to none before: no process can have worked on it.
    pub named: bool,
}

/// Two replicas that migrate at once wait here for each other. The number is arbitrary and must never change.
const LOCK: i64 = 5_277_406_317_209_114_883;

/// Applies what is missing, prepares the application's login, and names the installation when none is named yet.
pub async fn run(migration: &Migration) -> Result<Report> {
    let mut owner = owner(&migration.owner_url, &migration.ca_file).await?;
    // Held by the session: refinery commits one transaction per migration.
    owner.execute("select pg_advisory_lock($1)", &[&LOCK]).await?;
    let report = embedded::migrations::runner()
        .set_abort_divergent(true)
        .run_async(&mut owner)
        .await
        .map_err(|error| refused(&error))?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
    owner.batch_execute("grant select on refinery_schema_history to lockstep_ring, lockstep_tenant").await?;
    change::mend(&owner).await?;
    let (login, login_created) = prepare_login(&owner, &migration.application_url).await?;
    let named = owner
        .execute(
            "insert into installation (id) values ($1) on conflict do nothing",
            &[&migration.installation.0],
        )
        .await?
        == 1;
    let found: Uuid = owner.query_one("select id from installation", &[]).await?.get(0);
    // Dropping the client ends its session, and with it the lock.
    let installation = InstallationId(found);
    Ok(Report { applied, version: latest(), login, login_created, installation, named })
}

/// Why a role must not start on this schema.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// The database is older than this binary.
    #[error(
        "the database's schema is version {found} and this program needs {needed}; run `lockstep migrate`"
    )]
    Older {
        /// What the database has; 0 when it is empty.
        found: i32,
        /// What this binary was built with.
        needed: i32,
    },
    /// The login could see other organizations' rows whatever the policies say.
    #[error(
        "the login `{0}` may do what row-level security forbids (superuser, BYPASSRLS or owner of the tables); \
         `database.url` must name a plain login, which `lockstep migrate` creates"
    )]
    Unbound(String),
    /// The login is not a member of the two roles.
    #[error(
        "the login `{0}` may not take the roles of the application; run `lockstep migrate` with it as `database.url`"
    )]
    NotPrepared(String),
    /// It could not be asked.
    #[error(
        "{0}; check `database.url` and that Postgres runs there, and on a new database run `lockstep migrate` first: it \
         makes the application's login"
    )]
    Store(#[from] Error),
}

/// Whether the schema is at least this binary's (the previous binary keeps running while a newer one migrates) and the
/// login is bound by row-level security. Every role asks before it does anything else.
pub async fn check(store: &Store) -> Result<(), Unready> {
    let ring = match store.ring().await {
        // The roles do not exist, or the login is no member: look which.
        Err(Error::Broken(_)) => return Err(store.why_no_role().await?),
        other => other?,
    };
    let row = ring
        .query_opt(
            "select session_user::text, r.rolsuper or r.rolbypassrls or pg_has_role(r.oid, c.relowner, 'member')
             from pg_roles r, pg_class c
             where r.rolname = session_user and c.oid = to_regclass('schedules')",
            &[],
        )
        .await?;
    // A server with another installation's roles, and none of our tables yet.
    let Some(row) = row else { return Err(Unready::Older { found: 0, needed: latest() }) };
    if row.get(1) {
        return Err(Unready::Unbound(row.get(0)));
    }
    let found: Option<i32> =
        ring.query_one("select max(version) from refinery_schema_history", &[]).await?.get(0);
    let (found, needed) = (found.unwrap_or(0), latest());
    if found < needed { Err(Unready::Older { found, needed }) } else { Ok(()) }
}

/// The newest version that this binary knows.
pub fn latest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}

/// What changes whenever a migration does.
#[cfg(feature = "testing")]
pub(crate) fn checksum() -> u64 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().fold(0, |sum, migration| sum.rotate_left(7) ^ migration.checksum())
}

/// Opens the owner's session and keeps its connection going until the client is dropped.
pub(crate) async fn owner(url: &Secret, ca_file: &str) -> Result<Client> {
    use futures_util::StreamExt as _;
    let (client, mut messages) = connect(url, ca_file).await?;
    tokio::spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
    Ok(client)
}

/// Creates the login when it is missing, and makes it what the design asks for: no rights of its own, member of the
/// two roles, nothing inherited. A login that exists keeps its password.
async fn prepare_login(owner: &Client, application_url: &Secret) -> Result<(String, bool)> {
    let application = parse(application_url)?.config;
    let login = application.get_user().unwrap_or_default().to_owned();
    if login.is_empty() {
        return Err(Error::Broken(
            "database.url names no login; write postgres://login@host:port/name".to_owned(),
        ));
    }
    let known = owner
        .query_opt("select rolsuper or rolbypassrls from pg_roles where rolname = $1", &[&login])
        .await?;
    if known.as_ref().is_some_and(|row| row.get(0)) {
        return Err(Error::Broken(format!(
            "the login `{login}` of database.url is a superuser or bypasses row-level security; name another one, and \
             it is created"
        )));
    }
    let name = quoted(&login);
    let mut created = false;
    if known.is_none() {
        // Hashed here, so that the server's log never shows the password (RFC 5802).
        let password = application
            .get_password()
            .map(|password| format!("password '{}'", postgres_protocol::password::scram_sha_256(password)));
        let statement = format!("create role {name} login noinherit {}", password.unwrap_or_default());
        created = match owner.batch_execute(&statement).await {
            Ok(()) => true,
            // Roles belong to the server: a neighbour installation may have created it at this moment.
            Err(error)
                if error.code() == Some(&tokio_postgres::error::SqlState::DUPLICATE_OBJECT)
                    || error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) =>
            {
                false
            }
            Err(error) => return Err(error.into()),
        };
    }
    // Another migration of this server may be at the same rows of pg_authid; roles are shared by all databases.
    let statement = format!("alter role {name} noinherit; grant lockstep_tenant, lockstep_ring to {name}");
    for _ in 0..20 {
        match owner.batch_execute(&statement).await {
            Err(error) if error.as_db_error().is_some_and(|said| said.message().contains("concurrently")) => {
            }
            other => return other.map(|()| (login, created)).map_err(Error::from),
        }
    }
    Err(Error::Away("other migrations keep changing the roles of this server".to_owned()))
}

/// An identifier, quoted.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Refinery's word on what went wrong, with what Postgres said.
fn refused(error: &refinery::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    Error::Broken(text)
}

impl Store {
    /// What is missing when the transaction's role could not be taken.
    async fn why_no_role(&self) -> Result<Unready> {
        let row = self
            .outside(
                "select session_user::text, exists (select from pg_roles where rolname = 'lockstep_ring')",
            )
            .await?;
        Ok(if row.get(1) {
            Unready::NotPrepared(row.get(0))
        } else {
            Unready::Older { found: 0, needed: latest() }
        })
    }
}

#[cfg(test)]
mod tests {
    use model::secret::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_address_of_the_owner_is_never_printed() {
        let url = Secret::from("postgres://owner:hunter2@localhost/lockstep".to_owned());
        let migration = Migration {
            owner_url: url.clone(),
            application_url: url.clone(),
            ca_file: String::new(),
            installation: InstallationId(Uuid::nil()),
        };
        assert!(!format!("{migration:?}").contains("hunter2"));
        assert!(url.expose_secret().contains("hunter2"));
    }
}

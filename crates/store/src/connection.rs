//! The pool, and the two kinds of transaction that everything else runs in. A connection goes back to the pool with
//! its transaction ended on every path, so that no transaction ever sees what another one set or left open.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use futures_util::FutureExt as _;
use model::id::OrganizationId;
use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use crate::{Error, Result};

mod tls;

/// How Postgres is reached: the section `database` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `postgres://login@host:port/name?sslmode=require`. Without `sslmode`, or with `disable` or `prefer`, the
    /// connection is not encrypted; `require`, `verify-ca` and `verify-full` all mean TLS with a verified name.
    pub url: Secret,
    /// PEM file with the authorities that Postgres's certificate may come from, beside the system's; empty for those alone.
    pub ca_file: String,
    /// Connections of this process at most.
    pub pool_size: usize,
    /// How long a transaction waits for a free connection, in seconds.
    pub pool_wait_seconds: u64,
    /// How long opening a connection may take, in seconds.
    pub connect_timeout_seconds: u64,
    /// A statement that runs longer than this is ended by Postgres, in seconds.
    pub statement_timeout_seconds: u64,
    /// A transaction that waits for its client longer than this is ended by Postgres, in seconds.
    pub idle_transaction_timeout_seconds: u64,
}

/// The database. Cheap to clone; every clone shares one pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("pool", &self.pool.status()).finish()
    }
}

impl Store {
    /// Reads the configuration; connects when first asked. Fails as [`Error::Broken`] on a configuration that can
    /// never work, naming the key.
    pub fn open(config: &Config) -> Result<Self> {
        let mut postgres = parse(&config.url)?;
        let options = format!(
            "-c jit=off -c statement_timeout={}s -c idle_in_transaction_session_timeout={}s",
            config.statement_timeout_seconds, config.idle_transaction_timeout_seconds
        );
        postgres.config.options(options);
        postgres.config.application_name("lockstep");
        postgres.config.connect_timeout(Duration::from_secs(config.connect_timeout_seconds));
        // Ending the transaction is ours to do (see Drop), so that recycling costs no round trip.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if postgres.tls {
            Manager::from_config(postgres.config, tls::connector(&config.ca_file)?, recycling)
        } else {
            Manager::from_config(postgres.config, NoTls, recycling)
        };
        let wait = Duration::from_secs(config.pool_wait_seconds);
        let create = Duration::from_secs(config.connect_timeout_seconds);
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .timeouts(Timeouts { wait: Some(wait), create: Some(create), recycle: Some(create) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Broken(format!("database.pool_size: {error}")))?;
        Ok(Self { pool })
    }

    /// Begins a transaction that sees one organization. Dropped without [`Transaction::commit`], it is rolled back.
    pub async fn tenant(&self, organization: OrganizationId) -> Result<Tenant> {
        let begin = format!(
            "begin; set local role lockstep_tenant; set local lockstep.organization = '{}'",
            organization.0
        );
        Ok(Tenant { transaction: self.begin(&begin).await?, organization })
    }

    /// Begins a transaction across organizations that sees only what decides when and where work runs.
    pub async fn ring(&self) -> Result<Ring> {
        Ok(Ring { transaction: self.begin("begin; set local role lockstep_ring").await? })
    }

    /// Runs `work` in one transaction of one organization, and commits when it succeeds.
    pub async fn in_tenant<T, E: From<Error>>(
        &self,
        organization: OrganizationId,
        work: impl AsyncFnOnce(&Tenant) -> Result<T, E>,
    ) -> Result<T, E> {
        let tenant = self.tenant(organization).await?;
        let value = work(&tenant).await?;
        tenant.commit().await?;
        Ok(value)
    }

    /// Runs `work` in one transaction of the ring, and commits when it succeeds.
    pub async fn in_ring<T, E: From<Error>>(&self, work: impl AsyncFnOnce(&Ring) -> Result<T, E>) -> Result<T, E> {
        let ring = self.ring().await?;
        let value = work(&ring).await?;
        ring.commit().await?;
        Ok(value)
    }

    /// Asks one question as the bare login, which may read the server's catalog and nothing of ours.
    pub(crate) async fn outside(&self, statement: &str) -> Result<Row> {
        Ok(self.pool.get().await?.query_one(statement, &[]).await?)
    }

    /// One round trip: begin, role and organization travel together.
    async fn begin(&self, statements: &str) -> Result<Transaction> {
        // Built first, so that being dropped while the answer is awaited rolls back as well.
        let transaction = Transaction { connection: self.pool.get().await?, open: true };
        transaction.connection.batch_execute(statements).await?;
        Ok(transaction)
    }
}

/// A transaction that sees one organization and nothing else: row-level security holds in the database itself.
#[derive(Debug)]
pub struct Tenant {
    transaction: Transaction,
    organization: OrganizationId,
}

impl Tenant {
    /// The organization that this transaction sees.
    pub fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// Makes everything that was done visible to others.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await
    }

    /// Runs `work` so that its failure leaves the transaction as it was before: what one item did is undone, what
    /// the rest of its batch did stays.
    pub async fn attempt<T, E: From<Error>>(&self, work: impl AsyncFnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        self.connection.batch_execute("savepoint attempt").await.map_err(Error::from)?;
        let result = work(self).await;
        let end = match result {
            Ok(_) => "release savepoint attempt",
            Err(_) => "rollback to savepoint attempt; release savepoint attempt",
        };
        match (self.connection.batch_execute(end).await, result) {
            (Ok(()), result) => result,
            // What made the work fail says more than that the transaction is lost.
            (Err(_), Err(error)) => Err(error),
            (Err(error), Ok(_)) => Err(Error::from(error).into()),
        }
    }
}

impl Deref for Tenant {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

/// A transaction across organizations: schedules, sessions, limits and jobs, and no column with anybody's mail.
#[derive(Debug)]
pub struct Ring {
    transaction: Transaction,
}

impl Ring {
    /// Makes everything that was done visible to others.
    pub async fn commit(self) -> Result<()> {
        self.transaction.commit().await
    }
}

impl Deref for Ring {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

/// What both kinds of transaction can do. Statements are prepared once per connection.
pub struct Transaction {
    connection: Object,
    open: bool,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("open", &self.open).finish_non_exhaustive()
    }
}

/// The values of a statement's `$1`, `$2` and so on.
pub(crate) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Transaction {
    /// All rows of a statement.
    pub(crate) async fn query(&self, statement: &str, parameters: Parameters<'_>) -> Result<Vec<Row>> {
        let prepared = self.connection.prepare_cached(statement).await?;
        Ok(self.connection.query(&prepared, parameters).await?)
    }

    /// The row of a statement that gives none or one.
    pub(crate) async fn query_opt(&self, statement: &str, parameters: Parameters<'_>) -> Result<Option<Row>> {
        let prepared = self.connection.prepare_cached(statement).await?;
        Ok(self.connection.query_opt(&prepared, parameters).await?)
    }

    /// The row of a statement that always gives one.
    pub(crate) async fn query_one(&self, statement: &str, parameters: Parameters<'_>) -> Result<Row> {
        let prepared = self.connection.prepare_cached(statement).await?;
        Ok(self.connection.query_one(&prepared, parameters).await?)
    }

    /// How many rows a statement touched.
    pub(crate) async fn execute(&self, statement: &str, parameters: Parameters<'_>) -> Result<u64> {
        let prepared = self.connection.prepare_cached(statement).await?;
        Ok(self.connection.execute(&prepared, parameters).await?)
    }

    async fn commit(mut self) -> Result<()> {
        // A transaction that already failed answers COMMIT with a rollback and no error, so the caller must have
        // seen the failure; the functions of this crate hand every one of them on.
        self.connection.batch_execute("commit").await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            // The first poll writes the statement into the connection's queue, ahead of whatever its next user
            // asks; nobody needs to wait for the answer.
            let _ = self.connection.batch_execute("rollback").now_or_never();
        }
    }
}

/// A length of time that Postgres gave as seconds; what lies in the future counts as none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A connection string, taken apart.
pub(crate) struct Parsed {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) tls: bool,
}

/// Reads a connection string. `verify-ca` and `verify-full` are accepted as what `require` already means here.
pub(crate) fn parse(url: &Secret) -> Result<Parsed> {
    let url = url.expose_secret().replace("sslmode=verify-full", "sslmode=require");
    let url = url.replace("sslmode=verify-ca", "sslmode=require");
    let mut config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| {
        // The cause names the unreadable part and never repeats the password.
        Error::Broken(format!("database.url cannot be read ({error}); write postgres://login@host:port/name"))
    })?;
    // A server that vanished without a word is noticed within a minute, also by a connection that only listens.
    config.keepalives_idle(Duration::from_secs(20)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
    let tls = config.get_ssl_mode() == tokio_postgres::config::SslMode::Require;
    Ok(Parsed { config, tls })
}

/// One connection outside of the pool, for what lives longer than a transaction or signs in as somebody else.
/// Its driver runs until the client is dropped.
pub(crate) async fn connect(
    url: &Secret,
    ca_file: &str,
) -> Result<(tokio_postgres::Client, futures_util::stream::BoxStream<'static, Message>)> {
    let Parsed { config, tls } = parse(url)?;
    if tls {
        let (client, connection) = config.connect(tls::connector(ca_file)?).await?;
        Ok((client, messages(connection)))
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        Ok((client, messages(connection)))
    }
}

/// What Postgres says outside of answers.
pub(crate) type Message = std::result::Result<tokio_postgres::AsyncMessage, tokio_postgres::Error>;

fn messages<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
) -> futures_util::stream::BoxStream<'static, Message>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    use futures_util::StreamExt as _;
    futures_util::stream::poll_fn(move |context| connection.poll_message(context)).boxed()
}

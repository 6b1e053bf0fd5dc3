//! The pool, and the two kinds of transaction that everything else runs in. A connection goes back to the pool with
//! its transaction ended on every path, so that no transaction ever sees what another one set or left open.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use model::id::OrganizationId;
use model::secret::Secret;
use serde::Deserialize;
use tokio_postgres::{NoTls, Row};

use crate::schedule::Meeting;
use crate::{Error, Result};

mod address;
mod hear;
mod tls;
mod transaction;

pub(crate) use address::{connect, parse};
pub(crate) use hear::hear;
pub use transaction::{Ring, Tenant, Transaction};

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

/// What plans the statements of a transaction once for their connection, and by indexes.
const PLANNED_ONCE: &str = "; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off";
/// What looks every row up by its key, in the order that the statement says.
const BY_KEYS: &str = "; set local enable_hashjoin = off; set local enable_mergejoin = off; \
                       set local enable_material = off; set local enable_memoize = off";

/// The database. Cheap to clone; every clone shares one pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    config: Arc<Config>,
    meeting: Arc<Meeting>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Store {
    /// Reads the configuration; connects when first asked. Fails as [`Error::Broken`] on a configuration that can
    /// never work, naming the key.
    pub fn open(config: &Config) -> Result<Self> {
        let mut postgres = parse(&config.url)?;
        let options = format!(
            // What is deleted on a mail server is committed here first, so a commit is on the disk when it returns.
            "-c jit=off -c synchronous_commit=on -c statement_timeout={}s -c idle_in_transaction_session_timeout={}s",
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
        Ok(Self { pool, config: Arc::new(config.clone()), meeting: Arc::default() })
    }

    /// Begins a transaction that sees one organization. Dropped without [`Tenant::commit`], it is rolled back.
    pub async fn tenant(&self, organization: OrganizationId) -> Result<Tenant> {
        self.tenant_that_plans(organization, "").await
    }

    /// Begins a transaction as [`Store::tenant`] does, for statements over many rows at once: none of their values makes one
    /// plan better than another, so each is planned once for its connection and not for each of its first batches. By
    /// keys, for a plan that was made while the tables were empty is kept when they no longer are.
    pub async fn batch(&self, organization: OrganizationId) -> Result<Tenant> {
        self.tenant_that_plans(organization, PLANNED_ONCE).await
    }

    /// The same for statements whose rows are all named by their keys: nothing is joined in any other way.
    pub(crate) async fn batch_by_keys(&self, organization: OrganizationId) -> Result<Tenant> {
        self.tenant_that_plans(organization, &format!("{PLANNED_ONCE}{BY_KEYS}")).await
    }

    async fn tenant_that_plans(&self, organization: OrganizationId, settings: &str) -> Result<Tenant> {
        let begin = format!(
            "begin; set local role lockstep_tenant; set local lockstep.organization = '{}'{settings}",
            organization.0
        );
        Ok(Tenant::new(self.begin(&begin).await?, organization))
    }

    /// Begins a transaction that sees one organization as it was at one moment, whatever is committed meanwhile: what
    /// an answer put together from several statements needs, so that its parts belong together. What it writes fails
    /// when another transaction changed the same row since.
    pub async fn snapshot(&self, organization: OrganizationId) -> Result<Tenant> {
        let begin = format!(
            "begin isolation level repeatable read; set local role lockstep_tenant; \
             set local lockstep.organization = '{}'",
            organization.0
        );
        Ok(Tenant::new(self.begin(&begin).await?, organization))
    }

    /// Begins a transaction across organizations that sees only what decides when and where work runs.
    pub async fn ring(&self) -> Result<Ring> {
        Ok(Ring::new(self.begin("begin; set local role lockstep_ring").await?))
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
    pub async fn in_ring<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&Ring) -> Result<T, E>,
    ) -> Result<T, E> {
        let ring = self.ring().await?;
        let value = work(&ring).await?;
        ring.commit().await?;
        Ok(value)
    }

    /// Which of the server's settings are off without which a commit may be lost in a crash although it was confirmed:
    /// `fsync`, `full_page_writes` and `synchronous_commit`, the last as our own sessions have it.
    pub async fn lacking_durability(&self) -> Result<Vec<String>> {
        let off = "select coalesce(array_agg(name order by name), '{}') from pg_settings
             where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off'";
        Ok(self.outside(off).await?.try_get(0)?)
    }

    /// What the store was opened with, for a connection of its own.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Where those meet who go to the database together.
    pub(crate) fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// Asks one question as the bare login, which may read the server's catalog and nothing of ours.
    pub(crate) async fn outside(&self, statement: &str) -> Result<Row> {
        Ok(self.pool.get().await?.query_one(statement, &[]).await?)
    }

    /// One round trip: begin, role and organization travel together.
    async fn begin(&self, statements: &str) -> Result<Transaction> {
        Transaction::begin(self.pool.get().await?, statements).await
    }
}

/// A length of time that Postgres gave as seconds; what lies in the future counts as none.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

//! The two kinds of transaction. One that is dropped without a commit is rolled back before its connection is used
//! again, whatever ended it: an error, a panic, or a future that nobody awaits any more.

use std::fmt;
use std::ops::Deref;

use deadpool_postgres::Object;
use futures_util::FutureExt as _;
use model::id::OrganizationId;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::{Error, Result};

/// A transaction that sees one organization and nothing else: row-level security holds in the database itself.
#[derive(Debug)]
pub struct Tenant {
    transaction: Transaction,
    organization: OrganizationId,
}

impl Tenant {
    pub(super) fn new(transaction: Transaction, organization: OrganizationId) -> Self {
        Self { transaction, organization }
    }

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
    pub async fn attempt<T, E: From<Error>>(
        &self,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
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
    pub(super) fn new(transaction: Transaction) -> Self {
        Self { transaction }
    }

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
    pub(super) async fn begin(connection: Object, statements: &str) -> Result<Self> {
        // Built first, so that being dropped while the answer is awaited rolls back as well.
        let transaction = Self { connection, open: true };
        transaction.connection.batch_execute(statements).await?;
        Ok(transaction)
    }

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
        // Postgres answers the COMMIT of a transaction that failed before with a rollback and no error. The empty
        // SELECT, in the same round trip, makes that an error nobody can miss.
        self.connection.batch_execute("select; commit").await?;
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

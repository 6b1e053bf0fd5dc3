//! Which installation a database belongs to, so that a copy of a production database never sends a second copy of
//! its mail.

use model::id::InstallationId;
use model::secret::Secret;
use uuid::Uuid;

use crate::{Ring, Store, migrate};

/// Why a role must not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The database is a copy, or the configuration is another installation's.
    #[error(
        "this database belongs to installation {found}, and `installation.id` is {configured}: it is a copy, or the \
         wrong database. Nothing runs on it. To make the copy an installation of its own, run \
         `lockstep migrate --adopt`, which keeps its mailboxes disabled until they are tested again"
    )]
    AnotherInstallation {
        /// What the database says.
        found: InstallationId,
        /// What the configuration says.
        configured: InstallationId,
    },
    /// No migration has run.
    #[error("the database has no installation yet; run `lockstep migrate`")]
    Empty,
    /// It could not be asked.
    #[error(transparent)]
    Store(#[from] crate::Error),
}

/// The installation that the database belongs to; `None` before the first migration wrote it.
pub async fn get(ring: &Ring) -> crate::Result<Option<InstallationId>> {
    let row = ring.query_opt("select id from installation", &[]).await?;
    Ok(row.map(|row| InstallationId(row.get::<_, Uuid>(0))))
}

/// Compares the database with the configuration; every role asks before it does anything else.
pub async fn check(store: &Store, configured: InstallationId) -> Result<(), Refused> {
    let ring = store.ring().await?;
    match get(&ring).await? {
        None => Err(Refused::Empty),
        Some(found) if found == configured => Ok(()),
        Some(found) => Err(Refused::AnotherInstallation { found, configured }),
    }
}

/// What [`adopt`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Whose database it was.
    pub before: InstallationId,
    /// Workloads that were switched off; their mailboxes must be tested and enabled again.
    pub workloads: u64,
}

/// Makes a copied database an installation of its own, with the owner's login: every workload is switched off and its
/// test forgotten, and sends that wait go back to draft, so that the copy does nothing until a person says so for
/// each mailbox. Does nothing when the database already belongs to the installation.
pub async fn adopt(
    owner_url: &Secret,
    ca_file: &str,
    installation: InstallationId,
) -> crate::Result<Adopted> {
    let mut owner = migrate::owner(owner_url, ca_file).await?;
    let transaction = owner.transaction().await?;
    let before: Uuid = transaction.query_one("select id from installation for update", &[]).await?.get(0);
    if before == installation.0 {
        return Ok(Adopted { before: InstallationId(before), workloads: 0 });
    }
    // Forced row-level security binds the owner too. Lifted in this transaction only: nobody else ever sees it.
    for_all_tenants(&transaction, "no force").await?;
    transaction.execute("update installation set id = $1", &[&installation.0]).await?;
    let workloads = transaction
        .execute(
            "update mailbox_workloads set enabled = false, test_result = 'not_run', tested_at = null",
            &[],
        )
        .await?;
    transaction
        .execute(
            "update schedules set claim = claim + 1, state = 'idle', session_id = null, since = now(), due_at = null,
                due_reason = 'disabled', not_before = null, not_before_reason = null, wished_at = null",
            &[],
        )
        .await?;
    transaction.execute("update sessions set ended_at = now() where ended_at is null", &[]).await?;
    transaction
        .execute(
            "update jobs set state = 'canceled', claim = claim + 1, session_id = null, due_at = null, ended_at = now()
             where state in ('waiting', 'queued', 'running')",
            &[],
        )
        .await?;
    // What was about to leave belongs to the original; the copy asks its people again.
    transaction
        .execute("update send_requests set canceled_at = now(), ended_at = now() where ended_at is null", &[])
        .await?;
    transaction
        .execute("update emails set state = 'draft', version = version + 1 where state = 'pending_send'", &[])
        .await?;
    transaction
        .execute("update emails set state = 'unknown', version = version + 1 where state = 'sending'", &[])
        .await?;
    for_all_tenants(&transaction, "force").await?;
    transaction.commit().await?;
    Ok(Adopted { before: InstallationId(before), workloads })
}

async fn for_all_tenants(transaction: &tokio_postgres::Transaction<'_>, force: &str) -> crate::Result<()> {
    for table in ["mailbox_workloads", "schedules", "jobs", "send_requests", "emails"] {
        transaction.batch_execute(&format!("alter table {table} {force} row level security")).await?;
    }
    Ok(())
}

//! Which installation a database belongs to, so that a copy of a production database never sends a second copy of
//! its mail.

use model::id::InstallationId;
use model::secret::Secret;
use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::{Ring, Store, change, migrate};

/// Why a role must not start on this database.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The database is a copy, or the configuration is another installation's.
    #[error(
        "this database belongs to installation {found}, and `installation.id` is {configured}: it is a copy, or the \
         wrong database. Nothing runs on it. To make the copy an installation of its own, run `lockstep adopt`, which \
         keeps its mailboxes disabled until they are tested again"
    )]
    AnotherInstallation {
        /// What the database says.
        found: InstallationId,
        /// What the configuration says.
        configured: InstallationId,
    },
    /// Somebody works on the database that is to be adopted: it is no copy.
    #[error(
        "{processes} processes work on this database as installation {before}: it is no copy, or was copied a moment ago. \
         Nothing was changed. Check `migration.url`; of a fresh copy the original's processes are forgotten after a minute"
    )]
    InUse {
        /// How many.
        processes: i64,
        /// Whose they are.
        before: InstallationId,
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

/// What [`adopt`] would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Whose database it is.
    pub before: InstallationId,
    /// Mailboxes with a workload that is on.
    pub mailboxes: i64,
    /// Emails that wait to be sent.
    pub pending: i64,
}

/// What [`adopt`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Whose database it was.
    pub before: InstallationId,
    /// Workloads that were switched off; their mailboxes must be tested and enabled again.
    pub workloads: u64,
}

/// What adopting the database would do, with the owner's login. Changes nothing; refused while somebody works on it.
pub async fn adoption(
    owner_url: &Secret,
    ca_file: &str,
    installation: InstallationId,
) -> Result<Adoption, Refused> {
    let mut owner = migrate::owner(owner_url, ca_file).await?;
    let transaction = owner.transaction().await.map_err(crate::Error::from)?;
    let before = present(&transaction, installation).await?;
    lift(&transaction).await?;
    let row = transaction
        .query_one(
            "select (select count(distinct (organization_id, mailbox_id)) from mailbox_workloads where enabled),
                    (select count(*) from emails where state = 'pending_send')",
            &[],
        )
        .await
        .map_err(crate::Error::from)?;
    Ok(Adoption { before, mailboxes: row.get(0), pending: row.get(1) })
}

/// Makes a copied database an installation of its own, with the owner's login: every workload is switched off and its
/// test forgotten, and sends that wait go back to draft, so that the copy does nothing until a person says so for
/// each mailbox. Consents stay with the original. Its change feed begins anew. Does nothing when the database already belongs to the installation; refused
/// while somebody works on it.
pub async fn adopt(
    owner_url: &Secret,
    ca_file: &str,
    installation: InstallationId,
) -> Result<Adopted, Refused> {
    let mut owner = migrate::owner(owner_url, ca_file).await?;
    let transaction = owner.transaction().await.map_err(crate::Error::from)?;
    let before = present(&transaction, installation).await?;
    if before == installation {
        return Ok(Adopted { before, workloads: 0 });
    }
    let workloads = taken_over(&transaction, before, installation).await?;
    transaction.commit().await.map_err(crate::Error::from)?;
    Ok(Adopted { before, workloads })
}

/// Whose the database is; refused when its processes are alive.
async fn present(
    transaction: &Transaction<'_>,
    installation: InstallationId,
) -> Result<InstallationId, Refused> {
    let row = transaction
        .query_opt("select id from installation for update", &[])
        .await
        .map_err(crate::Error::from)?
        .ok_or(Refused::Empty)?;
    let before = InstallationId(row.get::<_, Uuid>(0));
    if before == installation {
        return Ok(before);
    }
    let row = transaction
        .query_one(
            "select count(*) from sessions where ended_at is null and seen_at + dead_after > now()",
            &[],
        )
        .await
        .map_err(crate::Error::from)?;
    match row.get(0) {
        0 => Ok(before),
        processes => Err(Refused::InUse { processes, before }),
    }
}

async fn taken_over(
    transaction: &Transaction<'_>,
    before: InstallationId,
    installation: InstallationId,
) -> crate::Result<u64> {
    let lifted = lift(transaction).await?;
    transaction.execute("update installation set id = $1, feed = feed + 1", &[&installation.0]).await?;
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
    // What reaches mail servers by the clock waits until a person wants it of the copy, too.
    transaction
        .execute(
            "update job_schedules set paused = true, version = version + 1 where not paused and kind <> 'clean_up'",
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
    // A refresh token that the copy spends is one that the original is refused for: people consent to the copy anew.
    transaction
        .execute(
            "update oauth_tokens set generation = generation + 1, refresh_sealed = null, refresh_sealed_with = null,
                 refresh_expires_at = null, access_sealed = null, access_sealed_with = null, access_expires_at = null,
                 renew_at = null, renewing_until = null, held_back_until = null,
                 consent_needed_at = case when refresh_sealed is not null then now() else consent_needed_at end",
            &[],
        )
        .await?;
    transaction.execute("delete from oauth_consents", &[]).await?;
    change::write_adoption(transaction, before, installation).await?;
    for table in lifted {
        transaction.batch_execute(&format!("alter table {table} force row level security")).await?;
    }
    Ok(workloads)
}

/// Forced row-level security binds the owner too. It is lifted in this transaction only, and nobody else ever sees it;
/// returns the tables that must have it again.
async fn lift(transaction: &Transaction<'_>) -> crate::Result<Vec<String>> {
    let forced = transaction
        .query(
            "select oid::regclass::text from pg_class
             where relforcerowsecurity and relnamespace = 'public'::regnamespace order by 1",
            &[],
        )
        .await?;
    let tables: Vec<String> = forced.iter().map(|row| row.get(0)).collect();
    for table in &tables {
        transaction.batch_execute(&format!("alter table {table} no force row level security")).await?;
    }
    Ok(tables)
}

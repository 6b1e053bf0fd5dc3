//! Which installation a database belongs to, so that a copy of a production database never sends a second copy of
//! its mail.

use model::id::InstallationId;
use uuid::Uuid;

use crate::{Ring, Store};

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

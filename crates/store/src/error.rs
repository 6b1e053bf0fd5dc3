//! What a caller must do about a failure. No variant ever carries a row's values: Postgres puts them into the detail
//! of its errors, so the detail is dropped here and nowhere else.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, named by what the caller must do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be asked right now, or ended the transaction for the sake of others: snooze and ask again.
    /// Counts against nobody's mailbox (scope "ours").
    #[error("the database is away: {0}")]
    Away(String),
    /// The rows contradict what was asked. The modules of the nouns turn this into their own refusals.
    #[error("the rows contradict it: {kind} {constraint}")]
    Conflict {
        /// What kind of rule was broken.
        kind: Conflict,
        /// The name of the rule in the schema.
        constraint: String,
    },
    /// The claim is no longer ours: stop, and write nothing more.
    #[error("the claim is no longer ours")]
    Fenced,
    /// A person asked for what they cannot have: say why.
    #[error(transparent)]
    Refused(#[from] crate::Refusal),
    /// A secret cannot be opened: an operator must see to the key ring.
    #[error(transparent)]
    Sealed(#[from] crate::seal::CannotOpen),
    /// A bug, or a schema that this binary does not know: report it, a retry changes nothing.
    #[error("the database and this program disagree: {0}")]
    Broken(String),
}

/// The kinds of rules that a write can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Another row has these values.
    Unique,
    /// A row that is pointed to is not there, or one that points here still is.
    Reference,
    /// A value outside of what the column holds.
    Check,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unique => "unique",
            Self::Reference => "reference",
            Self::Check => "check",
        })
    }
}

impl Error {
    /// The name of the broken rule, when that is what happened.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Conflict { constraint, .. } => Some(constraint),
            _ => None,
        }
    }
}

/// Reads a value that is stored by name; a name that the model does not know is a schema this binary does not know.
impl From<model::UnknownName> for Error {
    fn from(error: model::UnknownName) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let reason =
                error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
            // Everything about the connection has an I/O error behind it, is closed, or ran out of time; what is
            // left is about types and counts of columns, which no retry changes.
            let about_the_connection = error.is_closed()
                || error.source().is_some_and(|cause| cause.downcast_ref::<std::io::Error>().is_some())
                || reason.starts_with("timeout")
                || reason.starts_with("error connecting")
                || reason.starts_with("error performing TLS")
                || reason.starts_with("authentication");
            return if about_the_connection { Self::Away(reason) } else { Self::Broken(reason) };
        };
        let kind = match said.code() {
            code if *code == SqlState::UNIQUE_VIOLATION => Some(Conflict::Unique),
            code if *code == SqlState::FOREIGN_KEY_VIOLATION => Some(Conflict::Reference),
            code if *code == SqlState::CHECK_VIOLATION => Some(Conflict::Check),
            _ => None,
        };
        if let Some(kind) = kind {
            let constraint = said.constraint().unwrap_or_default().to_owned();
            return Self::Conflict { kind, constraint };
        }
        let reason = format!("{} ({})", said.message(), said.code().code());
        if passes(said.code().code()) { Self::Away(reason) } else { Self::Broken(reason) }
    }
}

/// Whether asking again later can succeed: connection (08), sign-in (28), rollback for the sake of others (40),
/// resources (53), an operator's intervention (57), a lock not available, a read-only standby after a failover, a
/// transaction that sat idle for too long.
fn passes(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "28" | "40" | "53" | "57"))
        || matches!(code, "55P03" | "25006" | "25P03")
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Away("no connection of the pool became free in time".to_owned()),
            other => Self::Away(other.to_string()),
        }
    }
}

//! Why the process ends otherwise than asked, and the number it tells the shell (sysexits.h where it has one).

use std::process::ExitCode;

use crate::config::Problem;

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration cannot be used. Exits 64.
    #[error(transparent)]
    Configuration(#[from] Problem),
    /// The database cannot be used.
    #[error("the database cannot be used: {0}\n  what to do: run `lockstep doctor`")]
    Store(#[from] store::Error),
    /// The database's schema or login is not what this program needs.
    #[error("{0}")]
    Unready(#[from] store::migrate::Unready),
    /// The database is not this installation's.
    #[error("{0}")]
    Installation(#[from] store::installation::Refused),
    /// A role ended.
    #[error("{role} ended: {reason}")]
    Role {
        /// Which.
        role: &'static str,
        /// Why.
        reason: String,
    },
    /// Ended before everything that was under way had ended.
    #[error("ended before everything that was under way had ended; others take it up")]
    Stopped,
    /// The signals cannot be watched.
    #[error("signals cannot be watched: {0}")]
    Signals(std::io::Error),
    /// Something that a person asked for did not work; said in full.
    #[error("{0}")]
    Said(String),
    /// `doctor` found something; it has said what.
    #[error("not everything is well; see above")]
    NotWell,
    /// This cannot happen.
    #[error("a bug: {0}; please report it")]
    Bug(&'static str),
}

impl Failure {
    /// 64 for the configuration (`EX_USAGE`), 69 for a part that is away (`EX_UNAVAILABLE`), 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(64),
            Self::Store(store::Error::Away(_)) => ExitCode::from(69),
            _ => ExitCode::FAILURE,
        }
    }
}

//! Why a simulator could not be started.

use std::io;

/// What went wrong, in words that say what was attempted.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    doing: String,
    source: io::Error,
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source }
    }

    pub(crate) fn other(doing: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self { doing: doing.into(), source: io::Error::other(error.to_string()) }
    }
}

//! Why a private server could not be had, in words that say what to do about it.

use std::{io, path::Path};

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed.
    #[error("{program} is missing; it is in Debian's package {package}: run `make setup`")]
    Missing {
        /// The path that was looked for.
        program: String,
        /// Debian's package.
        package: &'static str,
    },
    /// The account under which a server runs does not exist, or this process is not allowed to use it.
    #[error("{0}")]
    Account(String),
    /// The server ended or did not answer in time.
    #[error("{server} {what}; the end of its log:\n{log}")]
    Start {
        /// Which server.
        server: &'static str,
        /// Whether it ended or stayed silent.
        what: String,
        /// The last 30 lines of its log.
        log: String,
    },
    /// A file or a process of the server could not be made.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Refuses early, with the package's name, when `program` is not installed.
pub(crate) fn require(program: &str, package: &'static str) -> Result<(), Error> {
    if Path::new(program).exists() {
        Ok(())
    } else {
        Err(Error::Missing { program: program.to_owned(), package })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package_and_the_remedy() {
        let error = require("/usr/sbin/no-such-server", "no-such-package").unwrap_err();
        assert_eq!(
            error.to_string(),
            "/usr/sbin/no-such-server is missing; it is in Debian's package no-such-package: run `make setup`"
        );
    }
}

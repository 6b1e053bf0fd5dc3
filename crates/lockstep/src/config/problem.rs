//! A mistake in the configuration, said so that it can be mended without reading code.

use std::fmt;

/// What is wrong with one key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, with its section: `broker.url`. Empty when no key can be named.
    pub key: String,
    /// What is wrong with its value. Never the value of a secret.
    pub wrong: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem with a key.
    pub fn new(key: &str, wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.to_owned(), wrong: wrong.into(), remedy: remedy.into() }
    }
}

/// The environment variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("LOCKSTEP__{}", key.to_ascii_uppercase().replace('.', "__"))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "configuration: {}\n  what to do: {}", self.wrong, self.remedy);
        }
        let variable = variable(&self.key);
        write!(
            f,
            "configuration key `{}` (environment: {variable}): {}\n  what to do: {}",
            self.key, self.wrong, self.remedy
        )
    }
}

impl std::error::Error for Problem {}

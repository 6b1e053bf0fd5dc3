//! Secrets that do not print themselves and are wiped when dropped.

pub use secrecy::{ExposeSecret, SecretString};

/// A secret text. `Debug` shows `[REDACTED]`; it has no `Display` and is not serializable.
pub type Secret = SecretString;

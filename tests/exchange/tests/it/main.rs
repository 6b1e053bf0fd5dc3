//! The simulator, held against clients that nobody here wrote, and against its own promises where no client looks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod davmail;
mod exchangelib;
mod keeping;
mod mailbox;
mod raw;
mod streaming;
mod wire;

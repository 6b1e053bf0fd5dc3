//! The binary as people and programs meet it: its help, its configuration, its documents, and the administrator's
//! commands over a whole installation with real servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod administration;
mod configuration;
mod documents;
mod help;
mod house;
mod program;

//! The API as its callers see it: a server on a free port, a real Postgres behind it, an HTTP client before it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use lockstep_api as api;

mod audience;
mod bad_input;
mod changes;
mod client;
mod document;
mod emails;
mod explain;
mod fences;
mod hosted;
mod hostile;
mod jobs;
mod keys;
mod nouns;
mod sending;
mod snapshots;
mod status;
mod world;

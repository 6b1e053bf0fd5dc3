//! Postgres: the only truth about what should happen when, and the records. Everything the database knows is asked
//! for here; no other crate writes SQL.
//!
//! Two roles, two kinds of transaction. A [`Tenant`] sees one organization and nothing else; a [`Ring`] crosses
//! organizations but sees only the columns that decide when and where work runs. There is no third way in: what a
//! process logs in as has no rights of its own.

mod connection;
mod error;
pub mod installation;
pub mod migrate;
#[cfg(feature = "testing")]
pub mod testing;

// The ring.
pub mod health;
pub mod job;
pub mod job_schedule;
pub mod schedule;
pub mod session;
pub mod watch;

// The records.
pub mod address;
pub mod alert;
pub mod blob;
mod called;
pub mod change;
pub mod contact;
pub mod credential;
pub mod cursor;
pub mod deletion;
pub mod email;
pub mod folder;
pub mod grant;
pub mod idempotency;
pub mod incoming;
pub mod item;
pub mod key;
pub mod mailbox;
pub mod oauth;
pub mod organization;
pub mod outgoing;
pub mod profile;
pub mod queue;
pub mod record_type;
mod refusal;
mod round;
mod row;
pub mod seal;
pub mod setting;
pub mod status;
pub mod user;

pub use called::Called;
pub use connection::{Config, Ring, Store, Tenant, Transaction};
pub use error::{Conflict, Error, Result};
pub use refusal::Refusal;

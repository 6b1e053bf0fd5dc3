//! Private instances of the real servers that Lockstep works with, for tests, the demo and `make dev`.
//!
//! Each server is a child process on a free loopback port with its own data directory under `/tmp`, and is gone when
//! its value is dropped or the process that holds it ends in any way, SIGKILL included. A test binary may keep one
//! in a `static` `tokio::sync::OnceCell` for all its tests: nothing here belongs to the runtime that started it.
//!
//! ```
//! # use servers::Postgres;
//! use tokio::sync::OnceCell;
//!
//! static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
//!
//! async fn postgres() -> &'static Postgres {
//!     POSTGRES.get_or_init(Postgres::start).await
//! }
//! ```
//!
//! This is test equipment: what goes wrong panics with cause and remedy, and only `try_start` returns an error.
//! It must never be used on a machine's own servers.

mod account;
mod apart;
mod certificates;
mod error;
mod front;
mod gate;
mod mail;
mod ports;
mod postgres;
mod proxy;
mod rabbitmq;
mod redis;
mod supervised;

pub use error::Error;
pub use front::TlsFront;
pub use gate::{Conversation, Fault, Gate};
pub use mail::{MailServers, Options as MailOptions, TokenClient, TokenOptions, TokenServer};
pub use postgres::Postgres;
pub use proxy::CountingProxy;
pub use rabbitmq::RabbitMq;
pub use redis::Redis;

/// Test equipment fails loudly: the cause and the remedy are the error's own words.
pub(crate) fn or_panic<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

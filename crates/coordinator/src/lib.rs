//! The coordinator: who may hold a connection to a mail server now. Any number of replicas, all active.
//!
//! It keeps nothing itself: every decision is one run of a script in Redis, the ledger. It never opens a connection
//! to a mail server and knows no mailbox but by its id.

mod access;
mod config;
mod desk;
mod leases;
mod ledger;
mod redis_check;
mod server;

pub use config::{Config, ConfigError};
pub use redis_check::{RedisProblem, RedisReport, check_redis};
pub use server::{Error, run, serve};

//! The coordinator: who may hold a connection to a mail server now. Any number of replicas, all active.
//!
//! One of them decides at a time, in memory, and writes down who holds what in Redis, the ledger, before it says so; the
//! others pass on. It never opens a connection to a mail server and knows no mailbox but by its id.

mod access;
mod book;
mod config;
mod desk;
mod leases;
mod ledger;
mod redis_check;
mod server;

pub use config::{Config, ConfigError};
pub use ledger::begin_ledger;
pub use redis_check::{RedisProblem, RedisReport, check_redis};
pub use server::{Error, run, serve};

//! What a kill, a freeze or an absence must not break: installations that are attacked at named places and at random, and
//! a checker that holds the servers' side against the store's.
//!
//! A run prints its seed and repeats its choices from it; what the machine does in between it cannot repeat. It never
//! touches a process that it did not start.

mod fault;
mod fleet;
mod history;
mod office;
mod points;
mod run;
mod schedule;
mod witness;
mod world;

pub use history::{Arrived, Connections, Delivered, History, Send, Violation, violations};
pub use run::{WHOLE, run};
pub use world::{CANARY, LEASE, LIMIT, World};

//! The nouns of Lockstep and its pure rules: no I/O, no clock of its own, no knowledge of any store or server.
//!
//! Everything here is a value or a function of values, so that the rules that decide when mail moves, what is
//! accepted and what an error means can be read and tested without a single server.

pub mod accept;
pub mod actor;
pub mod address;
pub mod alert;
pub mod automatic;
pub mod budget;
pub mod cadence;
pub mod clock;
pub mod crash;
pub mod credential;
pub mod email;
pub mod endpoint;
pub mod explain;
pub mod failure;
pub mod folder;
pub mod id;
pub mod identity;
pub mod job;
pub mod mailbox;
pub mod message;
mod names;
pub mod network;
pub mod preset;
pub mod profile;
pub mod rate;
pub mod report;
pub mod secret;
pub mod setting;
pub mod watch;
pub mod window;
pub mod workload;

pub use names::UnknownName;

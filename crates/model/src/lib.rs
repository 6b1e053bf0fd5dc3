//! The nouns of Lockstep and its pure rules: no I/O, no clock of its own, no knowledge of any store or server.
//!
//! Everything here is a value or a function of values, so that the rules that decide when mail moves, what is
//! accepted and what an error means can be read and tested without a single server.

pub mod clock;
pub mod endpoint;
pub mod id;
pub mod network;
pub mod secret;
pub mod workload;

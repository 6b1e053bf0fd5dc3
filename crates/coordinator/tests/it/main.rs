//! The coordinator and its client against a real `Redis`: no lease too many, nobody forgotten.

#![expect(clippy::unwrap_used, reason = "equipment of tests: what goes wrong fails the test")]

// By the name that the rest of the workspace knows it by.
extern crate lockstep_coordinator as coordinator;

mod classes;
mod deaths;
mod doors;
mod exactness;
mod losses;
mod queueing;
mod rates;
mod ring;
mod storm;

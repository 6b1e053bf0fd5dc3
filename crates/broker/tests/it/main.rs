//! The broker crate against a real `RabbitMQ`: one node for the binary, a virtual host for each test.

#![expect(clippy::unwrap_used, reason = "equipment of tests: what goes wrong fails the test")]

// By the name that the rest of the workspace knows it by.
extern crate lockstep_broker as broker;

mod checking;
mod consuming;
mod equipment;
mod losing;
mod publishing;
mod topology;

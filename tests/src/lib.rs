//! The harness of the end-to-end tests and the demo: whole installations of Lockstep, made of the real `lockstep`
//! binary and real servers, on free ports of this machine, gone without a trace when they are dropped.
//!
//! This is test equipment: what goes wrong panics with cause and remedy. It never waits for luck, only for conditions,
//! and what it waited for in vain is said with what was seen last.

mod api;
pub mod bench;
mod binary;
pub mod browser;
mod canary;
pub mod chaos;
mod configuration;
pub mod demo;
mod fixtures;
mod installation;
mod kept;
mod otlp;
mod ports;
mod process;
mod servers;
mod wait;

pub use api::{Answer, Api};
pub use binary::lockstep;
pub use canary::Canary;
pub use configuration::Configuration;
pub use fixtures::{MailProfile, Mailbox, Owner};
pub use installation::Installation;
pub use otlp::{Metric, Otlp, Span};
pub use ports::free_port;
pub use process::{Process, Signal, command};
pub use servers::Servers;
pub use wait::{until, within};

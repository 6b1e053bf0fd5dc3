//! `RabbitMQ`, and the only crate that speaks AMQP: it delivers invitations to work and knows how they travel.
//!
//! It never decides what is due and never keeps a truth: whatever is lost here is made due again by the scheduler,
//! and whatever arrives twice is refused by the store.

mod backoff;
mod check;
mod config;
mod connection;
mod consumer;
mod error;
mod invitation;
mod publisher;
mod topology;
mod trace;

pub use check::{Report, check};
pub use config::Config;
pub use consumer::{Claimed, Consumer, Delivery, Handler, Intake};
pub use error::Error;
pub use invitation::{CycleInvitation, Invitation, JobInvitation, Undecodable};
pub use publisher::{Publication, Published, Publisher, Ready};
pub use topology::{Argument, Declaration, Depth, Queue, topology};
pub use trace::TraceContext;

//! The heart: one sync cycle of one workload of one mailbox, from what its row says to when it is due again.
//!
//! Records, item decisions and the cursor commit together, in batches, each fenced by the claim. Nothing is deleted on
//! a mail server before what it says is committed here, and nothing is kept between two cycles but what the store has.

pub mod access;
mod config;
mod ending;
mod failure;
mod finish;
pub mod hand;
mod held;
mod incoming;
pub mod life;
mod limits;
mod memory;
mod outgoing;
mod pace;
mod search;
mod servers;
mod start;
mod test;
pub mod watch;

pub use config::Config;
pub use failure::Explained;

pub use ending::{BackOff, Ending};
pub use held::Held;
pub use limits::lease_request;
pub use search::sought;
pub use servers::Mail;
pub use start::{Cycle, Parts};
pub use test::{Finding, Taking, find, test};

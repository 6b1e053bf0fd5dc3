//! Incoming mail: what of it is alike whatever a server speaks, and the providers, each with its own way to find what is new.
//!
//! Nothing is marked, moved or deleted on a server before what it says is committed here.

mod exchange;
mod intake;
mod judge;
mod pop3;
mod spool;

use model::profile::ProfileKind;

use crate::ending::{Ending, Interrupted};
use crate::start::Cycle;

pub(crate) async fn run(cycle: &Cycle) -> Result<Ending, Interrupted> {
    match cycle.mailbox.server.kind {
        ProfileKind::Pop3Smtp => pop3::run(cycle).await,
        ProfileKind::ExchangeEws => Box::pin(exchange::run(cycle)).await,
    }
}

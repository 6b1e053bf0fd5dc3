//! Hearing pokes. They carry nothing and may be lost: whoever listens looks at the rows, and looks every so often
//! without any poke as well.
//!
//! LISTEN belongs to a session, so the address must be Postgres's own: behind a pooler that hands out sessions per
//! transaction no poke arrives, and what is wished waits for the next scan.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::due::CHANNEL;
use crate::Config;
use crate::connection::hear;

/// Pokes as they come in; several that came in meanwhile are one.
#[derive(Debug)]
pub struct Pokes {
    heard: mpsc::Receiver<()>,
}

impl Pokes {
    /// Waits for the next poke. Losing the connection is a poke, and so is having it again: what was wished in
    /// between was said to nobody. Safe to drop while it waits.
    pub async fn next(&mut self) {
        // The sender lives as long as this receiver does, unless the runtime ends.
        if self.heard.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens on a connection of its own, opened again whenever it is lost, until the value is dropped.
pub fn listen(config: &Config) -> Pokes {
    let (poke, heard) = mpsc::channel(1);
    hear(config, CHANNEL, move |_| !matches!(poke.try_send(()), Err(TrySendError::Closed(()))));
    Pokes { heard }
}

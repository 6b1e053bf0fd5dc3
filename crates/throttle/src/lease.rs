//! A lease in a worker's hand: valid until five sixths of its life, counted from when it was asked for.
//!
//! The ledger counts the whole life from its later yes, so a slot is never free there while it is still used here.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::link::Command;

/// The right to one connection. Release or drop it only when the connection is closed: both say so to the ledger.
#[derive(Debug)]
pub struct Lease {
    id: Uuid,
    life: watch::Receiver<Life>,
    commands: mpsc::UnboundedSender<Command>,
    released: bool,
}

/// How long a lease may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// The monotonic moment at which its connection must be reset.
    pub(crate) until: Instant,
    /// The ledger said that it is not held any more.
    pub(crate) lost: bool,
}

impl Life {
    /// The part of a life that counts from `since`.
    pub(crate) fn from(since: Instant, lifetime: Duration) -> Self {
        Self { until: since + lifetime * 5 / 6, lost: false }
    }

    pub(crate) fn holds(self) -> bool {
        !self.lost && Instant::now() < self.until
    }
}

impl Lease {
    pub(crate) fn new(
        id: Uuid,
        life: watch::Receiver<Life>,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        Self { id, life, commands, released: false }
    }

    /// The id under which `status` shows it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether the connection may still be used: ask right before what cannot be undone, such as a final dot.
    pub fn check(&self) -> bool {
        self.life.borrow().holds()
    }

    /// Completes when the lease is lost: reset the connection at once, without another command. Never completes while
    /// renewal works. The future borrows nothing, so it can run beside the cycle.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut life = self.life.clone();
        async move {
            loop {
                let now = *life.borrow_and_update();
                if !now.holds() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep_until(now.until) => {}
                    changed = life.changed() => {
                        if changed.is_err() {
                            // Nobody renews any more; what was promised holds until its end.
                            tokio::time::sleep_until(now.until).await;
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Says that the connection is closed and waits until the ledger knows, for 5 s at most; after that it is told
    /// in the background.
    pub async fn release(mut self) {
        self.released = true;
        let (done, known) = oneshot::channel();
        if self.commands.send(Command::Release { id: self.id, done: Some(done) }).is_ok() {
            tokio::time::timeout(Duration::from_secs(5), known).await.ok();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released {
            // A closed channel means that the process is ending; the ledger frees the slot by itself then.
            self.commands.send(Command::Release { id: self.id, done: None }).ok();
        }
    }
}

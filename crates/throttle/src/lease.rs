//! A lease in a worker's hand: valid until five sixths of its life, counted from when it was asked for.
//!
//! The ledger counts the whole life from its later yes, so a slot is never free there while it is still used here.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::link::Command;
use crate::rate::Allowance;
use crate::v1;

/// The right to one connection. Release or drop it only when the connection is closed, on the server's side too: both say
/// so to the ledger. Where nobody knows, [`Lease::leave_in_doubt`] says that.
#[derive(Debug)]
pub struct Lease {
    id: Uuid,
    life: watch::Receiver<Life>,
    commands: mpsc::UnboundedSender<Command>,
    allowance: Allowance,
    released: bool,
}

/// How long a lease may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// The monotonic moment at which its connection must be reset.
    pub(crate) until: Instant,
    /// When it is over for the ledger too, at the earliest.
    pub(crate) end: Instant,
    /// The ledger said that it is not held any more.
    pub(crate) lost: bool,
}

impl Life {
    /// The part of a life that counts from `since`.
    pub(crate) fn from(since: Instant, lifetime: Duration) -> Self {
        Self { until: since + lifetime * 5 / 6, end: since + lifetime, lost: false }
    }

    pub(crate) fn holds(self) -> bool {
        !self.lost && Instant::now() < self.until
    }
}

/// Asks of a lease whether it holds, wherever its owner is. It does not hold the lease.
#[derive(Clone, Debug)]
pub struct Validity(watch::Receiver<Life>);

impl Validity {
    /// As [`Lease::check`].
    pub fn holds(&self) -> bool {
        self.0.borrow().holds()
    }
}

impl Lease {
    pub(crate) fn new(
        id: Uuid,
        life: watch::Receiver<Life>,
        commands: mpsc::UnboundedSender<Command>,
        allowance: Allowance,
    ) -> Self {
        Self { id, life, commands, allowance, released: false }
    }

    /// What it is allowed of the rates that it was asked for with.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// The id under which `lockstep leases list` shows it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether the connection may still be used: ask right before what cannot be undone, such as a final dot.
    pub fn check(&self) -> bool {
        self.life.borrow().holds()
    }

    /// The same, for whoever has not the lease itself.
    pub fn validity(&self) -> Validity {
        Validity(self.life.clone())
    }

    /// How long its slot is charged at least, whatever becomes of the lease: zero when the ledger said that it is lost.
    pub fn charged_for(&self) -> Duration {
        let life = *self.life.borrow();
        if life.lost { Duration::ZERO } else { life.end.saturating_duration_since(Instant::now()) }
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
        say(&self.commands, self.id, false, self.allowance.spent()).await;
    }

    /// Says that the connection was given up and nothing was heard of the server, which may go on counting it: the slot
    /// stays charged for its time in doubt. Waits as [`Lease::release`] does.
    pub async fn leave_in_doubt(mut self) -> Doubt {
        self.released = true;
        say(&self.commands, self.id, true, self.allowance.spent()).await;
        Doubt { id: self.id, commands: self.commands.clone() }
    }
}

/// A slot in doubt. Dropping it leaves it so.
#[derive(Debug)]
pub struct Doubt {
    id: Uuid,
    commands: mpsc::UnboundedSender<Command>,
}

impl Doubt {
    /// Says that the server has closed by now: the slot is free.
    pub async fn closed(self) {
        say(&self.commands, self.id, false, Vec::new()).await;
    }
}

async fn say(commands: &mpsc::UnboundedSender<Command>, id: Uuid, in_doubt: bool, spent: Vec<v1::Rate>) {
    let (done, known) = oneshot::channel();
    if commands.send(Command::Release { id, in_doubt, spent, done: Some(done) }).is_ok() {
        tokio::time::timeout(Duration::from_secs(5), known).await.ok();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.released {
            // A closed channel means that the process is ending; the ledger frees the slot by itself then.
            let spent = self.allowance.spent();
            self.commands.send(Command::Release { id: self.id, in_doubt: false, spent, done: None }).ok();
        }
    }
}

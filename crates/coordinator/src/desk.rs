//! The one task behind every stream. It finds out who holds the pen of the ledger: this coordinator, and then it decides
//! and writes down; or another one, and then it passes on what workers say and hear.
//!
//! It never tells anybody of a decision that is not written down, and ends every stream when the pen changes hands: its
//! worker opens another and says again what it holds and wants.

mod following;
mod lead;
mod leading;
mod rules;
mod search;
#[cfg(test)]
mod simulation;

use std::time::Duration;

use throttle::v1;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

pub(crate) use self::lead::Heard;
use self::rules::Known;
use self::search::Found;
use crate::config::Config;
use crate::ledger::Ledger;

/// Where the answers to one worker go.
pub(crate) type Answers = mpsc::UnboundedSender<Result<v1::CoordinatorMessage, Status>>;

/// What streams and administrators bring to the desk.
#[derive(Debug)]
pub(crate) enum Ask {
    Opened {
        stream: Uuid,
        answers: Answers,
    },
    /// What a worker says to the holder of the pen.
    Heard {
        stream: Uuid,
        heard: Heard,
        received: Instant,
    },
    /// What a worker says through another coordinator.
    Passed {
        stream: Uuid,
        message: v1::WorkerMessage,
    },
    Ended {
        stream: Uuid,
    },
    Status {
        begins: String,
        reply: oneshot::Sender<v1::StatusReply>,
    },
    Free {
        id: Uuid,
        reply: oneshot::Sender<bool>,
    },
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The ledger cannot be reached.
    Nobody,
    /// This coordinator.
    Leads,
    /// Another one.
    Follows,
}

/// The time in which one coordinator decides. A stream belongs to the term it began in, and ends with it.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) role: Role,
    pub(crate) over: CancellationToken,
}

/// How long to wait before Redis is tried again.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Desk {
    ledger: Ledger,
    inbox: mpsc::UnboundedReceiver<Ask>,
    terms: watch::Sender<Option<Term>>,
    /// Whether the ledger answers.
    reachable: watch::Sender<bool>,
    lease: Duration,
    renew_every: Duration,
    retry: Duration,
    quiet_after_loss: Duration,
    /// How often the holder of the pen shows that it is there, and others look.
    beat: Duration,
    /// How many requests are written down together at most.
    batch: usize,
    known: Known,
}

impl Desk {
    pub(crate) fn new(
        config: &Config,
        ledger: Ledger,
        inbox: mpsc::UnboundedReceiver<Ask>,
        terms: watch::Sender<Option<Term>>,
        reachable: watch::Sender<bool>,
    ) -> Self {
        Self {
            ledger,
            inbox,
            terms,
            reachable,
            lease: config.lease(),
            renew_every: Duration::from_millis(config.renew_millis),
            retry: Duration::from_secs(config.retry_seconds),
            quiet_after_loss: Duration::from_millis(config.quiet_after_loss_millis),
            beat: config.beat(),
            batch: config.batch,
            known: Known::default(),
        }
    }

    /// Term after term until shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while let Some(found) = self.search(&shutdown).await {
            match found {
                Found::Pen(taken) => self.lead(*taken, &shutdown).await,
                Found::Other(other) => self.follow(*other, &shutdown).await,
            }
            if shutdown.is_cancelled() {
                return;
            }
            // Streams that come now wait for the next term.
            self.end_term();
        }
    }

    fn begin_term(&self, role: Role) {
        let term = Term { role, over: CancellationToken::new() };
        if let Some(before) = self.terms.send_replace(Some(term)) {
            before.over.cancel();
        }
        self.reach(true);
    }

    fn reach(&self, reached: bool) {
        self.reachable.send_if_modified(|reachable| std::mem::replace(reachable, reached) != reached);
    }

    fn end_term(&self) {
        if let Some(before) = self.terms.send_replace(None) {
            before.over.cancel();
        }
    }
}

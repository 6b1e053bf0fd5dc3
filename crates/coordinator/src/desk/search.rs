//! Between two terms: who holds the pen, and may it be taken?
//!
//! Taking it is always safe, because whoever had it writes nothing more; waiting for a silent holder only spares workers
//! a change for nothing. What matters is to see that Redis lost what was written, and to be quiet then.

use std::time::Duration;

use model::clock;
use redis::RedisResult;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::rules::{Known, Patience};
use super::{Ask, Desk, PAUSE, Role};
use crate::ledger::line::Line;
use crate::ledger::{self, Connection, Ledger, Pen, Written};

/// The pen, with all that its last holder wrote.
pub(super) struct Taken {
    pub(super) pen: Pen,
    pub(super) written: Written,
    /// When the pen was still ours, with all of that in place.
    pub(super) confirmed: Instant,
    pub(super) connection: Connection,
    pub(super) line: Line,
}

/// Another coordinator that has the pen.
pub(super) struct Other {
    pub(super) pen: Uuid,
    pub(super) connection: Connection,
    pub(super) line: Line,
}

pub(super) enum Found {
    Pen(Box<Taken>),
    Other(Box<Other>),
}

impl Desk {
    /// Looks until the pen is ours or somebody else's; none at shutdown.
    pub(super) async fn search(&mut self, shutdown: &CancellationToken) -> Option<Found> {
        let Self { ledger, known, terms, reachable, inbox, beat, .. } = self;
        let mut away = false;
        let searching = async {
            loop {
                match look(ledger, known, *beat).await {
                    Ok(found) => return found,
                    Err(error) => {
                        if !std::mem::replace(&mut away, true) {
                            tracing::error!(
                                kind = ledger::kind(&error),
                                "the ledger in Redis does not answer; no lease is granted"
                            );
                            let term = super::Term { role: Role::Nobody, over: CancellationToken::new() };
                            terms.send_replace(Some(term));
                            reachable.send_replace(false);
                        }
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::pin!(searching);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return None,
                found = &mut searching => return Some(found),
                // What was asked in a term that is over is asked again in the next; people are told by the silence.
                ask = inbox.recv() => { let _: Ask = ask?; }
            }
        }
    }
}

async fn look(ledger: &Ledger, known: &mut Known, beat: Duration) -> RedisResult<Found> {
    let mut connection = ledger.connect().await?;
    let line = Line::open(ledger).await?;
    let run = connection.run().await?;
    let mut patience = Patience::new(beat);
    loop {
        let seen = connection.seen().await?;
        if let Some(pen) = seen.pen
            && known.silent != Some(pen)
            && connection.hears(pen).await?
        {
            known.learn(&seen);
            return Ok(Found::Other(Box::new(Other { pen, connection, line })));
        }
        let lost = known.misses_something(&seen, &run);
        if patience.is_over(known, &seen, lost, Instant::now()) {
            if lost {
                tracing::error!(
                    "Redis has no ledger, or lost some of it; nothing is granted until every lease that may have been \
                     given before has ended"
                );
            }
            let epoch = seen.epoch.clone().filter(|_| !lost);
            let epoch = epoch.unwrap_or_else(|| clock::new_id::<Uuid>().to_string());
            let quiet = seen.quiet || lost;
            if let Some(pen) = connection.take(&seen, line.id, epoch, &run.id, quiet).await? {
                known.epoch = Some(pen.epoch.clone());
                known.sequence = pen.sequence;
                known.silent = None;
                let written = connection.read().await?;
                // What was lost while it was read is not taken for all there is.
                let confirmed = Instant::now();
                let still = connection.seen().await?;
                if still.pen == Some(pen.id) && still.sequence == pen.sequence {
                    let taken = Taken { pen, written, confirmed, connection, line };
                    return Ok(Found::Pen(Box::new(taken)));
                }
                return Err((redis::ErrorKind::Io, "the ledger changed while it was read").into());
            }
        }
        tokio::time::sleep(beat).await;
    }
}

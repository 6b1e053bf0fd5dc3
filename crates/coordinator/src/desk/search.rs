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

use super::{Ask, Desk, PAUSE, Role, SILENT};
use crate::ledger::line::Line;
use crate::ledger::{self, Connection, Ledger, Pen, Run, Seen, Written};

/// What this coordinator knows from before.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) epoch: Option<String>,
    pub(super) sequence: u64,
    /// A holder of the pen that was seen to do nothing.
    pub(super) silent: Option<Uuid>,
}

/// The pen, with all that its last holder wrote.
pub(super) struct Taken {
    pub(super) pen: Pen,
    pub(super) written: Written,
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

impl Known {
    /// Remembers how far the ledger was seen to be written.
    pub(super) fn learn(&mut self, seen: &Seen) {
        if seen.epoch.is_some() {
            self.epoch.clone_from(&seen.epoch);
            self.sequence = seen.sequence;
        }
    }

    /// Whether Redis may lack something that was written to it: it is another ledger, or one that went back in time,
    /// or Redis was started again and does not keep a log of its writes. The first ledger ever lacks nothing.
    fn misses_something(&self, seen: &Seen, run: &Run) -> bool {
        let known = self.epoch.is_some();
        let another = known && self.epoch != seen.epoch;
        let went_back = known && seen.sequence < self.sequence;
        let forgets = seen.epoch.is_some() && seen.run != run.id && !run.keeps;
        another || went_back || forgets
    }
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
    let begun = Instant::now();
    let mut unheard = 0;
    loop {
        let seen = connection.seen().await?;
        let may_be_taken = match seen.pen {
            Some(pen) if known.silent == Some(pen) => true,
            Some(pen) if connection.hears(pen).await? => {
                known.learn(&seen);
                return Ok(Found::Other(Box::new(Other { pen, connection, line })));
            }
            // Its line may be a new one that it has not written down yet.
            Some(_) => {
                unheard += 1;
                unheard > 2
            }
            None if seen.epoch.is_some() => true,
            // Whoever held the pen when Redis lost everything still has it all, and puts it back.
            None if known.epoch.is_some() => begun.elapsed() > beat * SILENT,
            None => begun.elapsed() > beat * 3,
        };
        if may_be_taken {
            let lost = known.misses_something(&seen, &run);
            if lost {
                tracing::error!(
                    "Redis lost the ledger; nothing is granted until every lease given before has ended"
                );
            }
            let epoch = seen.epoch.clone().filter(|_| !lost);
            let epoch = epoch.unwrap_or_else(|| clock::new_id::<Uuid>().to_string());
            let quiet = seen.quiet || lost;
            if let Some(pen) = connection.take(seen.pen, line.id, epoch, &run.id, quiet).await? {
                known.epoch = Some(pen.epoch.clone());
                known.sequence = pen.sequence;
                known.silent = None;
                let written = connection.read().await?;
                return Ok(Found::Pen(Box::new(Taken { pen, written, connection, line })));
            }
        }
        tokio::time::sleep(beat).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(epoch: Option<&str>, sequence: u64, run: &str) -> Seen {
        Seen { epoch: epoch.map(str::to_owned), sequence, run: run.to_owned(), ..Seen::default() }
    }

    #[test]
    fn a_ledger_is_trusted_only_when_nothing_can_be_missing() {
        let knows =
            |epoch: Option<&str>, sequence| Known { epoch: epoch.map(str::to_owned), sequence, silent: None };
        let run = |id: &str, keeps| Run { id: id.to_owned(), keeps };
        for (known, seen, run, expected, why) in [
            (knows(None, 0), seen(None, 0, ""), run("r", false), false, "the first ledger ever"),
            (
                knows(None, 0),
                seen(Some("a"), 9, "r"),
                run("r", false),
                false,
                "a new coordinator, the same Redis",
            ),
            (
                knows(None, 0),
                seen(Some("a"), 9, "r"),
                run("s", true),
                false,
                "Redis was started again with its log",
            ),
            (
                knows(None, 0),
                seen(Some("a"), 9, "r"),
                run("s", false),
                true,
                "Redis was started again without a log",
            ),
            (knows(Some("a"), 9), seen(Some("a"), 9, "r"), run("r", false), false, "as it was left"),
            (knows(Some("a"), 9), seen(Some("a"), 12, "r"), run("r", false), false, "written further"),
            (knows(Some("a"), 9), seen(Some("a"), 8, "r"), run("r", true), true, "a copy that lagged behind"),
            (knows(Some("a"), 9), seen(Some("b"), 20, "r"), run("r", true), true, "another ledger"),
            (knows(Some("a"), 9), seen(None, 0, ""), run("r", true), true, "everything was deleted"),
        ] {
            assert_eq!(known.misses_something(&seen, &run), expected, "{why}");
        }
    }
}

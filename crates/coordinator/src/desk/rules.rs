//! What may be believed of a ledger that nobody watched, and when the pen may be taken. The desk and the simulation run
//! these same rules; they must never take a ledger for whole that does not show that it is.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::ledger::{Pen, Run, Seen};

/// After how many beats without a write another takes the pen from a coordinator that listens.
pub(super) const SILENT: u32 = 20;
/// After how many beats without a write another takes the pen from a coordinator that does not even listen. Nobody who
/// was trusted takes it sooner, so a holder that wrote more recently than this knows that nobody else decided since.
pub(super) const UNHEARD: u32 = 10;

/// What a coordinator knows from before.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) epoch: Option<String>,
    pub(super) sequence: u64,
    /// A holder of the pen that was seen to do nothing.
    pub(super) silent: Option<Uuid>,
}

impl Known {
    /// Remembers how far the ledger was seen to be written.
    pub(super) fn learn(&mut self, seen: &Seen) {
        if seen.epoch.is_some() {
            self.epoch.clone_from(&seen.epoch);
            self.sequence = seen.sequence;
        }
    }

    /// Whether Redis may lack something that was written to it: there is no ledger, or another one, or one that went back
    /// in time, or Redis was started again and does not keep a log of its writes. Nobody can tell a Redis that lost
    /// everything from a new one, so a ledger is never begun here: [`crate::begin_ledger`] does that, for who knows.
    pub(super) fn misses_something(&self, seen: &Seen, run: &Run) -> bool {
        let another = self.epoch.is_some() && self.epoch != seen.epoch;
        let went_back = self.epoch.is_some() && seen.sequence < self.sequence;
        seen.epoch.is_none() || another || went_back || forgets(seen, run)
    }
}

/// Redis is not the one that the ledger was last taken in, and what it was told last may not have come with it.
fn forgets(seen: &Seen, run: &Run) -> bool {
    seen.run != run.id && !run.keeps
}

/// Whether somebody else may have decided since the holder of the pen last wrote, so that it must not trust what it
/// remembers alone. Nobody has when the ledger is as it was left; and nobody was able to when that is not long ago.
pub(super) fn may_have_missed(
    pen: &Pen,
    seen: &Seen,
    run: &Run,
    since_written: Duration,
    beat: Duration,
) -> bool {
    // One write more than is known of may have arrived: its answer was lost. Who else writes does so by another pen.
    let as_left = seen.pen == Some(pen.id)
        && seen.epoch.as_ref() == Some(&pen.epoch)
        && seen.sequence >= pen.sequence
        && !forgets(seen, run);
    !as_left && since_written >= beat * UNHEARD
}

/// One search for the pen, look by look.
#[derive(Debug)]
pub(super) struct Patience {
    beat: Duration,
    /// As the ledger was seen last, and since when.
    last: Option<(Option<Uuid>, u64, Instant)>,
}

impl Patience {
    pub(super) fn new(beat: Duration) -> Self {
        Self { beat, last: None }
    }

    /// Whether the pen may be taken, of which nobody is heard. Where something is missing there may be somebody who
    /// remembers it and puts it back, so that takes longer.
    pub(super) fn is_over(&mut self, known: &Known, seen: &Seen, lost: bool, now: Instant) -> bool {
        let since = match self.last {
            Some((pen, sequence, since)) if (pen, sequence) == (seen.pen, seen.sequence) => since,
            // Who writes is there, whoever hears it.
            _ => now,
        };
        self.last = Some((seen.pen, seen.sequence, since));
        let still = now.saturating_duration_since(since);
        match seen.pen {
            Some(pen) if known.silent == Some(pen) => true,
            _ if lost => still >= self.beat * SILENT,
            Some(_) => still >= self.beat * UNHEARD,
            // It was put down.
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(100);

    fn seen(epoch: Option<&str>, sequence: u64, run: &str) -> Seen {
        Seen { epoch: epoch.map(str::to_owned), sequence, run: run.to_owned(), ..Seen::default() }
    }

    fn run(id: &str, keeps: bool) -> Run {
        Run { id: id.to_owned(), keeps }
    }

    #[test]
    fn a_ledger_is_trusted_only_when_nothing_can_be_missing() {
        let knows =
            |epoch: Option<&str>, sequence| Known { epoch: epoch.map(str::to_owned), sequence, silent: None };
        for (known, seen, run, expected, why) in [
            (
                knows(None, 0),
                seen(None, 0, ""),
                run("r", true),
                true,
                "new, or everything was lost: who knows?",
            ),
            (knows(None, 0), seen(Some("a"), 0, "r"), run("r", false), false, "a ledger that was begun"),
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

    #[test]
    fn the_holder_of_the_pen_trusts_its_memory_only_when_nobody_can_have_decided_meanwhile() {
        let mine = Uuid::from_u128(1);
        let pen = Pen { id: mine, epoch: "a".to_owned(), sequence: 9, quiet: false };
        let held = |sequence, run: &str| Seen { pen: Some(mine), ..seen(Some("a"), sequence, run) };
        let (short, long) = (BEAT * (UNHEARD - 1), BEAT * UNHEARD);
        for (seen, run, since, expected, why) in [
            (held(9, "r"), run("r", false), long, false, "as it was left, however long ago"),
            (held(10, "r"), run("r", false), long, false, "and a write whose answer was lost"),
            (held(9, "r"), run("s", true), long, false, "Redis has it all in its log"),
            (held(9, "r"), run("s", false), long, true, "a snapshot of just that moment, or later"),
            (held(8, "r"), run("s", true), long, true, "a snapshot in which the pen is still its own"),
            (held(8, "r"), run("r", true), long, true, "went back in the same Redis"),
            (seen(None, 0, ""), run("r", true), long, true, "everything is gone"),
            (
                seen(None, 0, ""),
                run("r", true),
                short,
                false,
                "gone, and nobody had the time to take the pen",
            ),
            (held(8, "r"), run("s", false), short, false, "went back, and nobody had the time"),
        ] {
            assert_eq!(may_have_missed(&pen, &seen, &run, since, BEAT), expected, "{why}");
        }
    }

    #[test]
    fn the_pen_is_taken_from_who_neither_listens_nor_writes() {
        let begun = Instant::now();
        let at = |beats: u32| begun + BEAT * beats;
        let of = |pen: Option<Uuid>, sequence| Seen { pen, ..seen(Some("a"), sequence, "r") };
        let (known, other) = (Known::default(), Some(Uuid::from_u128(1)));

        let mut patience = Patience::new(BEAT);
        assert!(patience.is_over(&known, &of(None, 3), false, at(0)), "it was put down");

        let mut patience = Patience::new(BEAT);
        assert!(!patience.is_over(&known, &of(other, 3), false, at(0)));
        assert!(!patience.is_over(&known, &of(other, 4), false, at(UNHEARD)), "it writes");
        assert!(!patience.is_over(&known, &of(other, 4), false, at(2 * UNHEARD - 1)));
        assert!(patience.is_over(&known, &of(other, 4), false, at(2 * UNHEARD)));

        let silent = Known { silent: other, ..Known::default() };
        assert!(
            Patience::new(BEAT).is_over(&silent, &of(other, 3), false, at(0)),
            "it was watched long enough"
        );

        for lost in [of(None, 3), of(other, 3), Seen::default()] {
            let mut patience = Patience::new(BEAT);
            assert!(!patience.is_over(&known, &lost, true, at(0)));
            assert!(!patience.is_over(&known, &lost, true, at(SILENT - 1)), "somebody may put it back");
            assert!(patience.is_over(&known, &lost, true, at(SILENT)));
        }
    }
}

//! The `[worker]` section. The defaults are in `config.default.toml`.

use std::num::NonZeroU16;

use model::workload::Workload;
use serde::Deserialize;
use store::session::{Slots, Times};

/// What a worker takes and how much of it at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The workloads this worker takes.
    pub workloads: Vec<Workload>,
    /// Cycles at once, over all of its workloads.
    pub slots: NonZeroU16,
    /// How many of the slots only sends may have, in percent.
    pub slots_for_sends_percent: u32,
    /// How servers that tell when mail comes in are listened to.
    pub watch: Watch,
    /// How the worker's session is kept alive.
    pub session: Times,
}

/// How servers are listened to.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Connections at once, beside the slots of cycles; 0: none.
    pub connections: u16,
    /// Mailboxes on one connection, 200 at most.
    pub mailboxes: u32,
    /// For how long one is claimed, in minutes, 2 to 29.
    pub minutes: u32,
    /// The least time between two wishes for one mailbox, in milliseconds.
    pub wish_millis: u64,
    /// How long a mailbox waits at most until a connection that has room is begun anew with it, in seconds.
    pub join_seconds: u64,
    /// How often a worker with a free connection looks for mailboxes that nobody listens to, in milliseconds.
    pub look_millis: u64,
}

impl Config {
    /// How many slots only sends may have: rounded up, and never all while anything else is taken. None are kept where only
    /// one or the other is taken.
    pub(crate) fn kept_for_sends(&self) -> u16 {
        let (sends, others) = self.takes();
        if !(sends && others) {
            return 0;
        }
        let slots = u32::from(self.slots.get());
        let kept = (slots * self.slots_for_sends_percent.min(100)).div_ceil(100).min(slots - 1);
        u16::try_from(kept).unwrap_or(u16::MAX)
    }

    /// What the scheduler may count on.
    pub(crate) fn places(&self) -> Slots {
        let ((sends, others), slots) = (self.takes(), self.slots.get());
        Slots {
            sends: if sends { slots.into() } else { 0 },
            others: if others { (slots - self.kept_for_sends()).into() } else { 0 },
        }
    }

    /// Whether sends are taken, and whether anything else is.
    fn takes(&self) -> (bool, bool) {
        let is_send = |workload: &Workload| *workload == Workload::Outgoing;
        (self.workloads.iter().any(is_send), !self.workloads.iter().all(is_send))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_slots_are_for_sends_alone_where_there_is_anything_else_to_take() {
        let (all, receives, sends) =
            (Workload::ALL, &[Workload::Incoming, Workload::Act][..], &[Workload::Outgoing][..]);
        for (workloads, slots, percent, expected) in [
            (all, 100, 10, (100, 90)),
            (all, 2, 10, (2, 1)),
            (all, 1, 10, (1, 1)),
            (all, 100, 0, (100, 100)),
            (all, 10, 100, (10, 1)),
            (all, u16::MAX, 10, (65_535, 58_981)),
            (receives, 100, 10, (0, 100)),
            (sends, 100, 10, (100, 0)),
            (&[][..], 100, 10, (0, 0)),
        ] {
            let config = Config {
                workloads: workloads.to_vec(),
                slots: NonZeroU16::new(slots).unwrap(),
                slots_for_sends_percent: percent,
                watch: Watch {
                    connections: 0,
                    mailboxes: 200,
                    minutes: 29,
                    wish_millis: 3000,
                    join_seconds: 300,
                    look_millis: 5000,
                },
                session: Times { beat_seconds: 5, dead_after_seconds: 15 },
            };
            let places = config.places();
            assert_eq!((places.sends, places.others), expected, "{workloads:?} {slots} {percent}");
        }
    }
}

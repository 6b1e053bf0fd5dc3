//! What a worker measures, made once: counted per workload and kind, never per mailbox.

use std::time::Duration;

use cycle::{Cycle, Ending};
use model::cadence::Outcome;
use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// A worker's metrics.
pub(crate) struct Instruments {
    duration: Histogram<f64>,
    items: Counter<u64>,
    failures: Counter<u64>,
}

impl Default for Instruments {
    fn default() -> Self {
        let meter = global::meter("lockstep");
        Self {
            duration: meter.f64_histogram("lockstep.cycle.duration").with_unit("s").build(),
            items: meter.u64_counter("lockstep.cycle.items").build(),
            failures: meter.u64_counter("lockstep.failures").build(),
        }
    }
}

impl Instruments {
    /// Notes how a cycle went.
    pub(crate) fn record(&self, cycle: &Cycle, ending: &Ending, took: Duration) {
        let (outcome, items) = match &ending.outcome {
            Outcome::Done { items, .. } => ("done", *items),
            Outcome::Snooze { .. } => ("snooze", 0),
            Outcome::Failed(failure) => (failure.scope.as_str(), 0),
        };
        let workload = KeyValue::new("workload", cycle.mailbox.workload.as_str());
        let labels = [workload.clone(), KeyValue::new("outcome", outcome)];
        self.duration.record(took.as_secs_f64(), &labels);
        self.items.add(items.into(), &labels);
        if let Some(explained) = &ending.explained {
            self.failures.add(1, &[workload, KeyValue::new("kind", explained.failure.alert.as_str())]);
        }
    }
}

/// What watches measure: counted per profile.
#[derive(Clone)]
pub(crate) struct WatchInstruments {
    /// Mailboxes that are listened to.
    pub(crate) mailboxes: UpDownCounter<i64>,
    /// Watches that are claimed, each with one connection.
    pub(crate) connections: UpDownCounter<i64>,
    /// What servers told.
    pub(crate) notifications: Counter<u64>,
    /// Mailboxes that became due by it.
    pub(crate) wishes: Counter<u64>,
    /// Watches that ended, by how.
    pub(crate) ended: Counter<u64>,
}

impl Default for WatchInstruments {
    fn default() -> Self {
        let meter = global::meter("lockstep");
        Self {
            mailboxes: meter.i64_up_down_counter("lockstep.watch.mailboxes").build(),
            connections: meter.i64_up_down_counter("lockstep.watch.connections").build(),
            notifications: meter.u64_counter("lockstep.watch.notifications").build(),
            wishes: meter.u64_counter("lockstep.watch.wishes").build(),
            ended: meter.u64_counter("lockstep.watch.ended").build(),
        }
    }
}

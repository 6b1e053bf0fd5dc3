//! What the scheduler measures, made once: counted per workload or profile, never per mailbox.

use opentelemetry::global;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

/// The scheduler's metrics.
pub(crate) struct Instruments {
    /// Messages that the broker confirmed.
    pub(crate) published: Counter<u64>,
    /// Messages that it did not: due again.
    pub(crate) not_published: Counter<u64>,
    /// How late the latest cycle of a batch was, in seconds.
    pub(crate) published_late: Histogram<f64>,
    /// Cycles by state.
    pub(crate) cycles: Gauge<i64>,
    /// How long ago the oldest cycle became due that is not queued yet, in seconds.
    pub(crate) due_late: Gauge<f64>,
    /// Emails that wait to be sent, per profile.
    pub(crate) sends_waiting: Gauge<i64>,
    /// How long the oldest of them waits that may leave, per profile, in seconds.
    pub(crate) sends_oldest: Gauge<f64>,
    /// Messages that wait in a queue.
    pub(crate) queue_messages: Gauge<u64>,
    /// Who takes from a queue.
    pub(crate) queue_consumers: Gauge<u64>,
}

impl Default for Instruments {
    fn default() -> Self {
        let meter = global::meter("lockstep");
        Self {
            published: meter.u64_counter("lockstep.scheduler.published").build(),
            not_published: meter.u64_counter("lockstep.scheduler.not_published").build(),
            published_late: meter.f64_histogram("lockstep.scheduler.lateness").with_unit("s").build(),
            cycles: meter.i64_gauge("lockstep.cycles").build(),
            due_late: meter.f64_gauge("lockstep.due.lateness").with_unit("s").build(),
            sends_waiting: meter.i64_gauge("lockstep.sends.waiting").build(),
            sends_oldest: meter.f64_gauge("lockstep.sends.oldest").with_unit("s").build(),
            queue_messages: meter.u64_gauge("lockstep.queue.messages").build(),
            queue_consumers: meter.u64_gauge("lockstep.queue.consumers").build(),
        }
    }
}

//! The ring in numbers, for Prometheus and OTLP: what is late, what is under way, what waits in which queue. Counted per
//! workload, never per mailbox.

use opentelemetry::{KeyValue, global};
use store::schedule;

use crate::Scheduler;

impl Scheduler {
    /// Looks at the ring and at the queues. What cannot be asked now keeps its last value.
    pub(crate) async fn observe(&self) {
        let meter = global::meter("lockstep");
        if let Ok(lines) = self.store.in_ring(async |ring| schedule::lateness(ring).await).await {
            let cycles = meter.i64_gauge("lockstep.cycles").build();
            let late = meter.f64_gauge("lockstep.due.lateness").with_unit("s").build();
            for line in lines {
                let workload = KeyValue::new("workload", line.workload.as_str());
                late.record(line.oldest.as_secs_f64(), std::slice::from_ref(&workload));
                for (state, count) in
                    [("ready", line.ready), ("queued", line.queued), ("running", line.running)]
                {
                    cycles.record(count, &[workload.clone(), KeyValue::new("state", state)]);
                }
            }
        }
        if let Ok(depths) = self.publisher.depths().await {
            let waiting = meter.u64_gauge("lockstep.queue.messages").build();
            let consumers = meter.u64_gauge("lockstep.queue.consumers").build();
            for depth in depths {
                let queue = [KeyValue::new("queue", depth.queue.as_str())];
                waiting.record(depth.messages.into(), &queue);
                consumers.record(depth.consumers.into(), &queue);
            }
        }
    }
}

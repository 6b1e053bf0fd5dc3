//! The ring in numbers, for Prometheus and OTLP: what is late, what is under way, what waits in which queue. Counted per
//! workload or profile, never per mailbox.

use opentelemetry::KeyValue;
use store::{outgoing, schedule};

use crate::Scheduler;

impl Scheduler {
    /// Looks at the ring and at the queues. What cannot be asked now keeps its last value.
    pub(crate) async fn observe(&self) {
        if let Ok(lines) = self.store.in_ring(async |ring| schedule::lateness(ring).await).await {
            for line in lines {
                let workload = KeyValue::new("workload", line.workload.as_str());
                self.instruments.due_late.record(line.oldest.as_secs_f64(), std::slice::from_ref(&workload));
                for (state, count) in
                    [("ready", line.ready), ("queued", line.queued), ("running", line.running)]
                {
                    self.instruments.cycles.record(count, &[workload.clone(), KeyValue::new("state", state)]);
                }
            }
        }
        let waiting = self.store.in_ring(async |ring| outgoing::backlog_by_profile(ring).await).await;
        for line in waiting.unwrap_or_default() {
            let profile = [KeyValue::new("profile", line.profile.to_string())];
            self.instruments.sends_waiting.record(line.emails, &profile);
            self.instruments.sends_oldest.record(line.oldest.as_secs_f64(), &profile);
        }
        if let Ok(depths) = self.publisher.depths().await {
            for depth in depths {
                let queue = [KeyValue::new("queue", depth.queue.as_str())];
                self.instruments.queue_messages.record(depth.messages.into(), &queue);
                self.instruments.queue_consumers.record(depth.consumers.into(), &queue);
            }
        }
    }
}

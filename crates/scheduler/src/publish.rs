//! Publishing one batch, inside a span that the workers' traces link to.

use std::time::Duration;

use broker::{Invitation, Publication, Published, TraceContext};
use opentelemetry::{KeyValue, global};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::Scheduler;

impl Scheduler {
    /// Publishes the batch and gives the places of what the broker does not have.
    pub(crate) async fn publish(
        &self,
        class: &'static str,
        invitations: Vec<Invitation>,
        latest: Duration,
    ) -> Vec<usize> {
        let count = invitations.len();
        // https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/
        let span = tracing::info_span!(
            "publish",
            otel.name = %format!("publish {class}"),
            otel.kind = "producer",
            messaging.system = "rabbitmq",
            messaging.operation.type = "send",
            messaging.batch.message_count = count,
            workload = class,
        );
        let trace = trace_of(&span);
        let batch: Vec<Publication> = invitations
            .into_iter()
            .map(|invitation| Publication { invitation, trace: trace.clone() })
            .collect();
        let outcomes = self.publisher.publish_batch(&batch).instrument(span).await;
        let lost: Vec<usize> = outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| **outcome != Published::Confirmed)
            .map(|(index, _)| index)
            .collect();
        if !lost.is_empty() {
            tracing::warn!(workload = class, messages = lost.len(), "not published: due again");
        }
        let labels = [KeyValue::new("workload", class)];
        self.instruments.published.add((count - lost.len()) as u64, &labels);
        self.instruments.not_published.add(lost.len() as u64, &labels);
        self.instruments.published_late.record(latest.as_secs_f64(), &labels);
        lost
    }
}

/// The span as W3C headers; none when nothing traces.
fn trace_of(span: &tracing::Span) -> Option<TraceContext> {
    let mut trace = TraceContext::default();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&span.context(), &mut trace));
    (!trace.traceparent.is_empty()).then_some(trace)
}

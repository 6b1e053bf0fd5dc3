//! A cycle's span: a trace of its own, linked to the one that published it (OpenTelemetry's messaging conventions: one
//! publish, many consumers).

use broker::{CycleInvitation, TraceContext};
use opentelemetry::global;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span of a delivery.
pub(crate) fn span(invitation: &CycleInvitation, published: Option<&TraceContext>) -> Span {
    let span = tracing::info_span!(
        parent: None,
        "deliver",
        otel.name = %format!("process {}", invitation.workload),
        otel.kind = "consumer",
        messaging.system = "rabbitmq",
        messaging.operation.type = "process",
        mailbox.id = %invitation.mailbox,
        workload = %invitation.workload,
        cycle.no = invitation.claim,
    );
    if let Some(published) = published {
        let context = global::get_text_map_propagator(|propagator| propagator.extract(published));
        span.add_link(context.span().span_context().clone());
    }
    span
}

//! Spans by OTLP. The trace context crosses the broker in W3C headers.

use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

use super::Config;
use crate::config::Problem;

pub(super) fn provider(config: &Config, resource: Resource) -> Result<Option<SdkTracerProvider>, Problem> {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    if !(0.0..=1.0).contains(&config.trace_share) {
        return Err(Problem::new(
            "telemetry.trace_share",
            format!("{} is no share", config.trace_share),
            "give a number from 0.0 (no cycle) to 1.0 (every cycle)",
        ));
    }
    if config.otlp_url.is_empty() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_url)
        .build()
        .map_err(|error| {
            Problem::new(
                "telemetry.otlp_url",
                error.to_string(),
                "give an address such as http://collector:4317",
            )
        })?;
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.trace_share))))
            .with_resource(resource)
            .build(),
    ))
}

//! Logs, traces and metrics: the only place that knows where they go.
//!
//! Traces go out by OTLP when an address is configured; metrics are scraped from `/metrics` and go out by OTLP too.
//! No address, subject, body or secret is ever given to any of them.

mod logs;
mod metrics;
mod traces;

use serde::Deserialize;

use crate::config::Problem;

/// Where telemetry goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `pretty` for people, `json` for machines.
    pub log_format: LogFormat,
    /// What is logged, as a filter: `info`, or `info,lockstep_worker=debug`.
    pub log_level: String,
    /// An OTLP gRPC receiver, `http://host:4317`; empty: none.
    pub otlp_url: String,
    /// What share of cycles is traced, 0.0 to 1.0.
    pub trace_share: f64,
    /// Where `/metrics` and `/health` are served; empty: nowhere.
    pub metrics_listen: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one object a line.
    Json,
}

/// Telemetry at work. [`Telemetry::flush`] sends what is still held back, on every way out.
pub struct Telemetry {
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
    metrics: opentelemetry_sdk::metrics::SdkMeterProvider,
    registry: prometheus::Registry,
}

impl Telemetry {
    /// Starts telemetry for a process that runs these roles. Inside the runtime: OTLP sends in the background.
    pub fn start(config: &Config, roles: &str) -> Result<Self, Problem> {
        let resource = opentelemetry_sdk::Resource::builder()
            .with_service_name("lockstep")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(opentelemetry::KeyValue::new("lockstep.roles", roles.to_owned()))
            .build();
        let traces = traces::provider(config, resource.clone())?;
        let (metrics, registry) = metrics::provider(config, resource)?;
        opentelemetry::global::set_meter_provider(metrics.clone());
        logs::install(config, traces.as_ref())?;
        Ok(Self { traces, metrics, registry })
    }

    /// What `/metrics` serves.
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Sends what is still held back.
    pub fn flush(self) {
        if let Some(traces) = self.traces {
            let _ = traces.shutdown();
        }
        let _ = self.metrics.shutdown();
    }
}

pub use metrics::serve;

//! Metrics: scraped from `/metrics` in Prometheus's text format, and sent by OTLP when an address is configured.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::config::Problem;

pub(super) fn provider(config: &Config, resource: Resource) -> Result<(SdkMeterProvider, Registry), Problem> {
    let registry = Registry::new();
    let scrape =
        opentelemetry_prometheus::exporter().with_registry(registry.clone()).build().map_err(|error| {
            Problem::new("", error.to_string(), "report this: the metrics could not be set up")
        })?;
    let mut provider = SdkMeterProvider::builder().with_reader(scrape).with_resource(resource);
    if !config.otlp_url.is_empty() {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
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
        provider = provider.with_periodic_exporter(exporter);
    }
    Ok((provider.build(), registry))
}

/// Serves `/metrics` and `/health` until the process stops.
pub async fn serve(listen: &str, registry: Registry, shutdown: CancellationToken) -> Result<(), Problem> {
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        Problem::new(
            "telemetry.metrics_listen",
            format!("`{listen}` cannot be listened on: {error}"),
            "give a free address such as 0.0.0.0:9464, or leave it empty",
        )
    })?;
    tracing::info!(listen = %listener.local_addr().map(|a| a.to_string()).unwrap_or_default(), "metrics at /metrics");
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/health", get(|| async { "ok\n" }))
        .with_state(registry);
    tokio::spawn(async move {
        let _ = axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    });
    Ok(())
}

async fn scrape(State(registry): State<Registry>) -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, encoder.format_type().to_owned())], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain".to_owned())],
            error.to_string().into_bytes(),
        ),
    }
}

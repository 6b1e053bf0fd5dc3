//! Log lines on standard error, and spans on their way to the trace exporter.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::{Config, LogFormat};
use crate::config::Problem;

pub(super) fn install(config: &Config, traces: Option<&SdkTracerProvider>) -> Result<(), Problem> {
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| {
        Problem::new(
            "telemetry.log_level",
            format!("`{}` is no filter: {error}", config.log_level),
            "give error, warn, info, debug or trace, with exceptions such as `info,lockstep_worker=debug`",
        )
    })?;
    // Whatever is asked for: at their finer levels these libraries write down statements with their values, headers and
    // frames, and with them what is never to be logged. What lapin calls errors is told by `broker`, in better words.
    let quiet =
        ["tokio_postgres=warn", "h2=info", "hyper=info", "hyper_util=info", "rustls=info", "lapin=off"];
    let quiet = quiet.iter().filter_map(|directive| directive.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let lines = match config.log_format {
        LogFormat::Pretty => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
    };
    // Traces have a filter of their own: a quiet log does not mean a blind trace.
    let spans = traces.map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("lockstep"))
            .with_filter(EnvFilter::new("off,lockstep=info,lockstep_scheduler=info,lockstep_broker=info,lockstep_worker=info,lockstep_throttle=info,lockstep_coordinator=info,lockstep_cycle=info,lockstep_mail=info,lockstep_store=info,lockstep_jobs=info,lockstep_api=info"))
    });
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).init();
    Ok(())
}

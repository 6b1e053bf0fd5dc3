//! The REST API: everything a person or a host application does with Lockstep, over HTTP and described by OpenAPI 3.1.
//!
//! Every call but the health checks is authenticated by an API key and sees that key's organization and nothing else. No
//! answer has a field for a secret, and nothing here touches the broker: the store's rows are changed, and the scheduler
//! looks.

mod app;
mod body;
mod caller;
mod config;
mod connections;
mod contract;
mod host;
mod html;
mod idempotency;
mod page;
mod problem;
mod rights;
mod routes;
mod schema;
mod trace;
mod transaction;
mod version;
mod waiting;

use std::sync::Arc;

use model::network::NetworkPolicy;
use store::Store;
use store::seal::KeyRing;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use rights::Right;

/// What the API works with beside its configuration.
#[derive(Clone)]
pub struct Parts {
    /// The records.
    pub store: Store,
    /// What passwords are sealed with; nothing is ever opened here.
    pub keys: Arc<KeyRing>,
    /// Which networks a profile may lead to.
    pub network: NetworkPolicy,
    /// Whoever asks token servers for what a consent led to.
    pub tokens: mail::oauth::Client,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("store", &self.store)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// Why the API cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened at.
    #[error(
        "cannot listen at {address} (`api.listen`): {cause}; choose a free port of this machine, or stop what uses it"
    )]
    Listen {
        /// What was configured.
        address: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// Serves until the shutdown; requests that have begun are answered first.
pub async fn run(config: Config, parts: Parts, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|cause| Error::Listen { address: config.listen.to_string(), cause })?;
    serve(listener, config, parts, shutdown).await
}

/// Serves at a listener that is already bound.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    parts: Parts,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(server.address = %address, "the API listens");
    }
    connections::serve(listener, &config.clone(), app::router(config, parts), shutdown).await;
    Ok(())
}

/// The OpenAPI 3.1 document, as committed in `docs/openapi.json`.
pub fn openapi_json() -> String {
    let text = serde_json::to_string_pretty(&app::openapi()).unwrap_or_default();
    in_order(&text)
}

/// Puts the extensions of each operation (`x-…`, one line each) in order: they come out of a hash map, and the same
/// document must be the same text every time.
fn in_order(text: &str) -> String {
    let is_extension = |line: &str| line.trim_start().starts_with("\"x-");
    let lines: Vec<&str> = text.lines().collect();
    let mut ordered = String::with_capacity(text.len() + 1);
    for run in lines.chunk_by(|one, next| is_extension(one) && is_extension(next)) {
        let mut sorted: Vec<&str> = run.iter().map(|line| line.trim_end_matches(',')).collect();
        if run.len() > 1 {
            sorted.sort_unstable();
        }
        // The commas stay where they were: only the last line of a run may go without.
        for (line, place) in sorted.iter().zip(run) {
            ordered.push_str(line);
            if place.ends_with(',') {
                ordered.push(',');
            }
            ordered.push('\n');
        }
    }
    ordered
}

/// Every operation with the right it asks for, sorted by path and method: what a test holds against a committed table.
pub fn route_table() -> Vec<(String, String, Right)> {
    let mut table: Vec<_> = rights::Rights::of(&app::openapi())
        .iter()
        .map(|(method, path, right)| (path.to_owned(), method.to_string(), right))
        .collect();
    table.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    table
}

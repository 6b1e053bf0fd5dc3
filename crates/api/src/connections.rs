//! The connections that the API is served on: so many at once, and none that a silent client can keep. A client that does not
//! finish the head of its request in time is let go, an idle connection between two requests as well; those that find no
//! place wait in the system's line.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Config;

/// How long is waited after the system could give no connection, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until the shutdown; requests that have begun are answered first.
pub(crate) async fn serve(
    listener: TcpListener,
    config: &Config,
    router: Router,
    shutdown: CancellationToken,
) {
    // HTTP/1.1 alone: whoever wants HTTP/2 has it between client and proxy, and a preface that never ends would be one
    // more thing to wait for.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds.max(1)));
    let places = Arc::new(Semaphore::new(config.max_connections.max(1) as usize));
    let open = GracefulShutdown::new();
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = open.watch(connection);
            tokio::spawn(async move {
                // What ends a connection is its client's doing: gone, too slow, or no HTTP.
                let _ = connection.await;
                drop(place);
            });
        }
    };
    shutdown.run_until_cancelled(accept).await;
    drop(listener);
    open.shutdown().await;
}

//! A coordinator from its start to its end: listener, desk, health and reflection.

use std::fs;
use std::time::Duration;

use model::clock;
use throttle::v1::leases_server::LeasesServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use uuid::Uuid;

use crate::access::Access;
use crate::config::{Config, ConfigError};
use crate::desk::Desk;
use crate::leases::Counter;
use crate::ledger::Ledger;
use crate::redis_check::check_redis;

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was told something that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen.
    #[error(
        "cannot listen on {address} ({source}); set `coordinator.listen` to a free address of this machine"
    )]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the gRPC server ended: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Listens where the configuration says and serves until shutdown. Redis may come and go meanwhile.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    serve(config, listener, shutdown).await
}

/// The same on a listener that exists already.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
    config.check()?;
    let coordinator: Uuid = clock::new_id();
    let tls = tls(&config)?;
    warn_of_plain_text(&config, &listener, tls.is_some());
    if let Err(problem) = check_redis(&config).await {
        tracing::warn!("{problem}");
    }
    let (desk, inbox) = mpsc::unbounded_channel();
    let (beginnings, terms) = watch::channel(None);
    let (reachable, reached) = watch::channel(false);
    let ledger = Ledger::new(&config).map_err(|_| ConfigError::BadRedisUrl)?;
    let stop = shutdown.child_token();
    let _stop_with_the_server = stop.clone().drop_guard();
    let deciding = tokio::spawn(Desk::new(&config, ledger, inbox, beginnings, reachable).run(stop.clone()));
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(reporter, reached.clone(), stop.clone()));

    let counter = Counter {
        desk,
        terms,
        reached,
        retry: Duration::from_secs(config.retry_seconds),
        shutdown: stop.clone(),
    };
    let access = Access::new(config.token.clone());
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(throttle::v1::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(InterceptedService::new(reflection, access.clone())),
        Err(problem) => {
            tracing::warn!(%problem, "reflection is off");
            None
        }
    };
    // No HTTP/2 pings: a stream must never end because its worker is merely silent. TCP finds the dead long after
    // their leases ended.
    let probe = (config.lease() * 2).max(Duration::from_secs(60));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(probe));
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    tracing::info!(coordinator.id = %coordinator, "the coordinator serves");
    server
        .add_service(health)
        .add_service(LeasesServer::with_interceptor(counter, access))
        .add_optional_service(reflection)
        .serve_with_incoming_shutdown(incoming, stop.cancelled())
        .await?;
    // It puts the pen down, so that another coordinator takes over at once.
    tokio::time::timeout(config.redis_timeout(), deciding).await.ok();
    Ok(())
}

/// Serving only while the ledger answers.
async fn report_health(
    reporter: HealthReporter,
    mut reached: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let reporting = async {
        loop {
            let status =
                if *reached.borrow_and_update() { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status("", status).await;
            reporter.set_service_status("lockstep.throttle.v1.Leases", status).await;
            if reached.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(reporting).await;
}

fn tls(config: &Config) -> Result<Option<ServerTlsConfig>, ConfigError> {
    if config.tls_certificate_file.is_empty() {
        return Ok(None);
    }
    let read = |key, file: &str| fs::read(file).map_err(|source| ConfigError::BadTlsFile { key, source });
    let identity = Identity::from_pem(
        read("tls_certificate_file", &config.tls_certificate_file)?,
        read("tls_key_file", &config.tls_key_file)?,
    );
    Ok(Some(ServerTlsConfig::new().identity(identity)))
}

fn warn_of_plain_text(config: &Config, listener: &TcpListener, tls: bool) {
    let address = listener.local_addr().unwrap_or(config.listen);
    if !tls && !address.ip().is_loopback() {
        tracing::warn!(
            coordinator.listen = %address,
            "the token crosses the network in plain text; set `coordinator.tls_certificate_file` and `tls_key_file`"
        );
    }
}

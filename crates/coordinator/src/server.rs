//! A coordinator from its start to its end: listener, desk, health and reflection.

use std::fs;
use std::time::Duration;

use model::clock;
use throttle::v1::leases_server::LeasesServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use uuid::Uuid;

use crate::access::Access;
use crate::config::{Config, ConfigError};
use crate::desk::{Ask, Desk, Term};
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
    /// The task that decides ended by itself: without it a coordinator would take what workers say and answer nothing.
    #[error(
        "the coordinator's desk ended ({why}); this is a bug: report it with the log, and let the process be started again"
    )]
    Desk {
        /// How.
        why: String,
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
    tracing::info!(coordinator.id = %coordinator, "the coordinator serves");
    let doors = Doors { desk, terms, reached, stop, tls };
    doors.serve(&config, listener, deciding).await
}

/// What leads to the desk.
struct Doors {
    desk: mpsc::UnboundedSender<Ask>,
    terms: watch::Receiver<Option<Term>>,
    reached: watch::Receiver<bool>,
    stop: CancellationToken,
    tls: Option<ServerTlsConfig>,
}

impl Doors {
    /// Open as long as somebody decides.
    async fn serve(
        self,
        config: &Config,
        listener: TcpListener,
        mut deciding: JoinHandle<()>,
    ) -> Result<(), Error> {
        let Self { desk, terms, reached, stop, tls } = self;
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
        let serving = server
            .add_service(health)
            .add_service(LeasesServer::with_interceptor(counter, access))
            .add_optional_service(reflection)
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        tokio::pin!(serving);
        tokio::select! {
            over = &mut serving => over?,
            ended = &mut deciding => {
                if !stop.is_cancelled() {
                    // Every stream ends with the token, and workers try another coordinator.
                    stop.cancel();
                    let why = ended.map_or_else(|panicked| panicked.to_string(), |()| "without a word".to_owned());
                    return Err(Error::Desk { why });
                }
                // It was quicker than the streams.
                return Ok(serving.await?);
            }
        }
        // It puts the pen down, so that another coordinator takes over at once.
        tokio::time::timeout(config.redis_timeout(), deciding).await.ok();
        Ok(())
    }
}

/// Serving only while the ledger answers and somebody looks whether it does.
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
    reporter.set_service_status("", ServingStatus::NotServing).await;
    reporter.set_service_status("lockstep.throttle.v1.Leases", ServingStatus::NotServing).await;
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

#[cfg(test)]
mod tests {
    use model::secret::Secret;
    use tonic::transport::Channel;
    use tonic_health::pb::health_check_response::ServingStatus as Status;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    fn config() -> Config {
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: Secret::from("a-token-for-tests"),
            tls_certificate_file: String::new(),
            tls_key_file: String::new(),
            redis_url: Secret::from("redis://127.0.0.1:1/0"),
            key_prefix: "lockstep".to_owned(),
            redis_timeout_millis: 1_000,
            lease_millis: 30_000,
            renew_millis: 10_000,
            retry_seconds: 30,
            beat_millis: 100,
            quiet_after_loss_millis: 60_000,
            batch: 128,
        }
    }

    #[tokio::test]
    async fn a_coordinator_whose_desk_panics_ends_instead_of_serving_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (desk, _inbox) = mpsc::unbounded_channel();
        let (_beginnings, terms) = watch::channel(None);
        let (reachable, reached) = watch::channel(true);
        let (told, panics) = tokio::sync::oneshot::channel::<()>();
        let deciding = tokio::spawn(async move {
            let _reachable = reachable;
            panics.await.ok();
            panic!("a desk that panics for a test");
        });
        let doors = Doors { desk, terms, reached, stop: CancellationToken::new(), tls: None };
        let serving = tokio::spawn(async move { doors.serve(&config(), listener, deciding).await });
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.status(), Status::Serving);
        told.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
        let ended = ended.expect("it goes on serving").unwrap();
        assert!(matches!(ended, Err(Error::Desk { .. })), "{ended:?}");
        assert!(Channel::from_shared(url).unwrap().connect().await.is_err(), "nobody listens any more");
    }
}

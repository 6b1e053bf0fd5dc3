//! The roles a process can run, and how they are composed: this is the only place that knows all of them.

use std::sync::Arc;

use model::id::InstallationId;
use model::network::NetworkPolicy;
use store::Store;
use store::seal::KeyRing;
use tokio::task::JoinSet;

use crate::command::Failure;
use crate::config::{Config, Problem};
use crate::shutdown::Shutdown;

/// A role that any number of processes may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Finds what is due and publishes it.
    Scheduler,
    /// Grants leases on connections to mail servers.
    Coordinator,
    /// Runs synchronization cycles.
    Worker,
    /// Runs async operations.
    Jobs,
    /// Answers the REST API.
    Api,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Scheduler, Self::Coordinator, Self::Worker, Self::Jobs, Self::Api];

    fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Jobs => "jobs",
            Self::Api => "api",
        }
    }
}

/// The names of roles, for logs and telemetry.
pub fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",")
}

/// Runs the roles until they are told to stop. Returns early when one of them cannot go on.
pub async fn run(mut config: Config, roles: &[Role], shutdown: &Shutdown) -> Result<(), Failure> {
    let installation = config.installation_id()?;
    let with_store = roles.iter().any(|role| *role != Role::Coordinator);
    let store = if with_store { Some(opened(&config, installation).await?) } else { None };
    let needs_keys = roles.iter().any(|role| matches!(role, Role::Worker | Role::Jobs | Role::Api));
    let keys = if needs_keys { Some(Arc::new(key_ring(&config)?)) } else { None };
    config.coordinator.scope(&installation.to_string());
    let mail = cycle::Mail::new(
        NetworkPolicy { allow: config.network.allow.clone() },
        config.cycle.clone(),
        config.throttle.shares.clone(),
    )
    .map_err(|error| Problem::new("", error.to_string(), "install the system's CA certificates (ca-certificates)"))?;

    let mut running = JoinSet::new();
    for role in roles {
        let drain = shutdown.drain.clone();
        let store = store.clone();
        let keys = keys.clone();
        let name = role.name();
        macro_rules! start {
            ($run:expr) => {
                running.spawn(async move { (name, $run.await.map_err(|error| error.to_string())) })
            };
        }
        match (role, store, keys) {
            (Role::Coordinator, ..) => {
                let config = config.coordinator.clone();
                start!(coordinator::run(config, drain))
            }
            (Role::Scheduler, Some(store), _) => {
                let (config, broker) = (config.scheduler.clone(), config.broker.clone());
                start!(scheduler::run(config, store, broker, drain))
            }
            (Role::Worker, Some(store), Some(keys)) => {
                let parts = worker::Parts {
                    store,
                    keys,
                    broker: config.broker.clone(),
                    throttle: config.throttle.clone(),
                    mail: mail.clone(),
                };
                let config = config.worker.clone();
                start!(worker::run(config, parts, drain))
            }
            (Role::Jobs, Some(store), Some(keys)) => {
                let parts = jobs::Parts {
                    store,
                    keys,
                    broker: config.broker.clone(),
                    throttle: config.throttle.clone(),
                    mail: mail.clone(),
                };
                let config = config.jobs.clone();
                start!(jobs::run(config, parts, drain))
            }
            (Role::Api, Some(store), Some(keys)) => {
                let parts = api::Parts { store, keys, network: NetworkPolicy { allow: config.network.allow.clone() } };
                let config = config.api.clone();
                start!(api::run(config, parts, drain))
            }
            _ => return Err(Failure::Bug("a role was started without what it needs")),
        };
    }
    ended(running, shutdown).await
}

/// Waits until every role has ended. One that ends by itself takes the process with it: what restarts the process
/// then restarts all of it.
async fn ended(mut running: JoinSet<(&'static str, Result<(), String>)>, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut result = Ok(());
    loop {
        let next = tokio::select! {
            next = running.join_next() => next,
            () = shutdown.stop.cancelled() => {
                running.abort_all();
                return Err(Failure::Stopped);
            }
        };
        let Some(joined) = next else { return result };
        let failure = match joined {
            Ok((role, Ok(()))) if shutdown.drain.is_cancelled() => {
                tracing::info!(role, "ended");
                continue;
            }
            Ok((role, Ok(()))) => Failure::Role { role, reason: "it ended by itself".to_owned() },
            Ok((role, Err(reason))) => Failure::Role { role, reason },
            Err(panic) => Failure::Role { role: "a role", reason: panic.to_string() },
        };
        tracing::error!("{failure}");
        if result.is_ok() {
            result = Err(failure);
        }
        shutdown.drain.cancel();
    }
}

/// Opens the database and makes sure that it is this installation's and of this version.
pub async fn opened(config: &Config, installation: InstallationId) -> Result<Store, Failure> {
    let store = Store::open(&config.database)?;
    store::installation::check(&store, installation).await?;
    Ok(store)
}

/// The keys that secrets are sealed with.
pub fn key_ring(config: &Config) -> Result<KeyRing, Problem> {
    use model::secret::ExposeSecret as _;
    const REMEDY: &str = "give a line `name:key` where key is 32 random bytes in base64, made with `openssl rand -base64 32`; \
                          keep the keys as safe as the passwords they seal";
    let inline = config.secrets.key_ring.expose_secret();
    let text = match (inline.is_empty(), config.secrets.key_ring_file.is_empty()) {
        (false, true) => inline.to_owned(),
        (true, false) => std::fs::read_to_string(&config.secrets.key_ring_file).map_err(|error| {
            Problem::new("secrets.key_ring_file", format!("the file cannot be read: {error}"), REMEDY)
        })?,
        (true, true) => return Err(Problem::new("secrets.key_ring", "no key is configured", REMEDY)),
        (false, false) => {
            return Err(Problem::new(
                "secrets.key_ring",
                "both `secrets.key_ring` and `secrets.key_ring_file` are given",
                "give one of the two",
            ));
        }
    };
    KeyRing::from_text(&text).map_err(|error| Problem::new("secrets.key_ring", error.to_string(), REMEDY))
}

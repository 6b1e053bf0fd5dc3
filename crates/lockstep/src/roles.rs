//! The roles a process can run, and how they are composed: this is the only place that knows all of them.

use std::sync::Arc;

use cycle::Mail;
use cycle::life::Means;
use model::id::InstallationId;
use model::network::NetworkPolicy;
use store::Store;
use store::seal::KeyRing;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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
    let network = NetworkPolicy { allow: std::mem::take(&mut config.network.allow) };
    config.coordinator = config.coordinator_of(installation);
    let mail = Mail::new(network.clone(), config.cycle.clone(), config.throttle.shares)
        .map_err(|error| Problem::new("cycle.smtp_client_name", error.to_string(), "give a host name"))?;
    checked(&config, roles)?;
    let process = process_name();
    let store =
        if roles == [Role::Coordinator] { None } else { Some(opened(&config.database, installation).await?) };
    let seals = |role: &Role| matches!(role, Role::Worker | Role::Jobs | Role::Api);
    let keys = if roles.iter().any(seals) { Some(Arc::new(key_ring(&config)?)) } else { None };

    let mut running = JoinSet::new();
    let last = CancellationToken::new();
    for role in roles {
        let (name, drain) = (role.name(), shutdown.drain.clone());
        let parts = store.clone().zip(keys.clone()).map(|(store, keys)| cycle::Parts {
            store,
            mail: mail.clone(),
            keys,
            drain: shutdown.drain.clone(),
        });
        let means = |parts: cycle::Parts| Means {
            parts,
            broker: config.broker.clone(),
            throttle: config.throttle.clone(),
            process: process.clone(),
        };
        macro_rules! start {
            ($run:expr) => {{
                let run = $run;
                running.spawn(async move { (name, run.await.map_err(|error| error.to_string())) })
            }};
        }
        match (role, &store, parts) {
            (Role::Coordinator, ..) => start!(coordinator::run(config.coordinator.clone(), last.clone())),
            (Role::Scheduler, Some(store), _) => {
                let (scheduler, database) = (config.scheduler.clone(), config.database.clone());
                start!(scheduler::run(scheduler, store.clone(), database, config.broker.clone(), drain))
            }
            (Role::Worker, _, Some(parts)) => start!(worker::run(config.worker.clone(), means(parts), drain)),
            (Role::Jobs, _, Some(parts)) => {
                // Jobs and cycles do not wait for each other's connections.
                let database = store::Config { pool_size: config.jobs.pool_size, ..config.database.clone() };
                let parts = cycle::Parts { store: opened(&database, installation).await?, ..parts };
                start!(jobs::run(config.jobs.clone(), means(parts), drain))
            }
            (Role::Api, _, Some(parts)) => {
                let parts = api::Parts {
                    store: parts.store,
                    keys: parts.keys,
                    network: network.clone(),
                    tokens: mail.tokens().clone(),
                };
                start!(api::run(config.api.clone(), parts, drain))
            }
            _ => return Err(Failure::Bug("a role was started without what it needs")),
        };
    }
    ended(running, shutdown, &last, roles.contains(&Role::Coordinator)).await
}

/// Refuses what these roles could never work with, before anything is opened.
fn checked(config: &Config, roles: &[Role]) -> Result<(), Problem> {
    let refused =
        |section: &str, error: String| Problem::new(section, error, "see config.default.toml for its form");
    if roles.contains(&Role::Coordinator) {
        config.coordinator.check().map_err(|error| refused("coordinator", error.to_string()))?;
    }
    if roles.iter().any(|role| matches!(role, Role::Worker | Role::Jobs)) {
        config.throttle.check().map_err(|error| refused("throttle", error.to_string()))?;
    }
    if roles.iter().any(|role| matches!(role, Role::Scheduler | Role::Worker | Role::Jobs)) {
        broker::Publisher::new(&config.broker, "check")
            .map_err(|error| refused("broker.url", error.to_string()))?;
    }
    // A cycle that is taken back while it still runs would be run twice at once, and a send of it would be in doubt.
    let (cycle, sweep) = (&config.cycle, &config.scheduler.sweep);
    let longest = config.throttle.wait_seconds
        + u64::from(cycle.max_seconds + cycle.smtp_message_seconds + cycle.smtp_verdict_seconds);
    if roles.contains(&Role::Scheduler) && sweep.cycle_seconds < longest {
        return Err(Problem::new(
            "scheduler.sweep.cycle_seconds",
            format!("{} s is less than a cycle may take, {longest} s", sweep.cycle_seconds),
            "give at least throttle.wait_seconds + cycle.max_seconds + cycle.smtp_message_seconds + \
             cycle.smtp_verdict_seconds",
        ));
    }
    Ok(())
}

/// Host name and process id, for people who look at sessions and leases.
fn process_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}

/// Waits until every role has ended, the coordinator last: the others give their leases back to it. One that ends by
/// itself takes the process with it: what restarts the process then restarts all of it.
async fn ended(
    mut running: JoinSet<(&'static str, Result<(), String>)>,
    shutdown: &Shutdown,
    last: &CancellationToken,
    mut coordinates: bool,
) -> Result<(), Failure> {
    let mut result = Ok(());
    loop {
        if shutdown.drain.is_cancelled() && running.len() <= usize::from(coordinates) {
            last.cancel();
        }
        let next = tokio::select! {
            next = running.join_next() => next,
            () = shutdown.drain.cancelled(), if !last.is_cancelled() && running.len() <= usize::from(coordinates) => continue,
            () = shutdown.stop.cancelled() => {
                running.abort_all();
                return Err(Failure::Stopped);
            }
        };
        let Some(joined) = next else { return result };
        let failure = match joined {
            Ok((role, Ok(()))) if shutdown.drain.is_cancelled() => {
                tracing::info!(role, "ended");
                coordinates &= role != Role::Coordinator.name();
                continue;
            }
            Ok((role, Ok(()))) => Failure::Role { role, reason: "it ended by itself".to_owned() },
            Ok((role, Err(reason))) => Failure::Role { role, reason },
            Err(panic) => Failure::Role { role: "a role", reason: panic.to_string() },
        };
        tracing::error!("{failure}");
        if let Failure::Role { role, .. } = &failure {
            coordinates &= *role != Role::Coordinator.name();
        }
        if result.is_ok() {
            result = Err(failure);
        }
        shutdown.drain.cancel();
    }
}

/// Opens the database and makes sure that it is this installation's and of this version.
pub async fn opened(database: &store::Config, installation: InstallationId) -> Result<Store, Failure> {
    let store = Store::open(database).map_err(|error| {
        Problem::new(
            "database.url",
            error.to_string(),
            "give an address such as postgres://lockstep:…@host:5432/lockstep",
        )
    })?;
    store::migrate::check(&store).await?;
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

//! The configuration: every role's section, read from the defaults, a file and the environment, in that order.
//!
//! A section lives beside the code it configures; this crate only composes them. A mistake is reported with its key,
//! what is wrong with the value and the remedy, and the process exits 64 before anything is opened.

mod load;
mod problem;

use ipnet::IpNet;
use model::id::InstallationId;
use model::secret::Secret;
use serde::Deserialize;

pub use load::{DEFAULTS, load};
pub use problem::Problem;

/// Everything that can be configured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which installation this is.
    pub installation: Installation,
    /// Postgres.
    pub database: store::Config,
    /// How `migrate` signs in.
    pub migration: Migration,
    /// The keys that secrets are sealed with.
    pub secrets: Secrets,
    /// RabbitMQ.
    pub broker: broker::Config,
    /// Redis and the coordinator's own listener.
    pub coordinator: coordinator::Config,
    /// How other roles reach the coordinator.
    pub throttle: throttle::Config,
    /// Networks that profiles may lead to.
    pub network: Network,
    /// The scheduler.
    pub scheduler: scheduler::Config,
    /// A synchronization cycle.
    pub cycle: cycle::Config,
    /// The workers.
    pub worker: worker::Config,
    /// The async job service.
    pub jobs: jobs::Config,
    /// The REST API.
    pub api: api::Config,
    /// Logs, traces and metrics.
    pub telemetry: crate::telemetry::Config,
    /// How the process itself behaves.
    pub process: Process,
    /// How the administrator's commands reach the API.
    pub client: Client,
}

/// Which installation this is: the database carries the same id, so that a copy of it does not start by accident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// A UUID; empty until one is chosen.
    pub id: String,
}

/// How `migrate` signs in to Postgres.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The owner's login; empty everywhere but where `migrate` runs.
    pub url: Secret,
}

/// The key ring that secrets are sealed with: one place or the other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// `name:base64` lines, the first is active; for the environment.
    pub key_ring: Secret,
    /// A file with the same lines.
    pub key_ring_file: String,
}

/// Networks that profiles may lead to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Loopback, link-local and private networks that the operator opens.
    pub allow: Vec<IpNet>,
}

/// How the process itself behaves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// How long the first step of stopping may take.
    pub drain_seconds: u64,
}

/// How the administrator's commands reach the API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Where the API is.
    pub url: String,
    /// An API key.
    pub key: Secret,
    /// PEM file with the authority of the API's certificate, beside the system's.
    pub ca_file: String,
}

impl Config {
    /// The installation's id, or what to do about it.
    pub fn installation_id(&self) -> Result<InstallationId, Problem> {
        self.installation.id.parse().map_err(|_| Problem {
            key: "installation.id".to_owned(),
            wrong: if self.installation.id.is_empty() {
                "it is empty".to_owned()
            } else {
                format!("`{}` is not a UUID", self.installation.id)
            },
            remedy: format!(
                "give every installation an id of its own, once and for good; a new one: {}",
                model::clock::new_id::<uuid::Uuid>()
            ),
        })
    }

    /// What the coordinators of an installation are told. One Redis may serve several: each has keys of its own.
    pub fn coordinator_of(&self, installation: InstallationId) -> coordinator::Config {
        let key_prefix = format!("{}:{installation}", self.coordinator.key_prefix);
        coordinator::Config { key_prefix, ..self.coordinator.clone() }
    }
}

//! What each command does. Roles are composed in [`crate::roles`]; here the process around them is set up.

pub mod administer;
mod adopt;
mod doctor;
mod failure;
mod leases;
mod migrate;
mod organization;

use std::time::Duration;

pub use failure::Failure;
pub(crate) use leases::lease;

use crate::cli::{Arguments, Command, WorkerArguments};
use crate::config::{self, Config};
use crate::roles::{self, Role};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Telemetry};

/// Does what the command line asks.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    if let Command::Config = arguments.command {
        print!("{}", config::DEFAULTS);
        return Ok(());
    }
    if let Command::Openapi = arguments.command {
        println!("{}", api::openapi_json());
        return Ok(());
    }
    let config = config::load(arguments.config.as_deref(), environment())?;
    match arguments.command {
        Command::Run { roles, worker } => {
            let roles = if roles.is_empty() { Role::ALL.to_vec() } else { distinct(roles) };
            serve(config, &roles, worker).await
        }
        Command::Scheduler => serve(config, &[Role::Scheduler], WorkerArguments::default()).await,
        Command::Coordinator => serve(config, &[Role::Coordinator], WorkerArguments::default()).await,
        Command::Worker(worker) => serve(config, &[Role::Worker], worker).await,
        Command::Jobs => serve(config, &[Role::Jobs], WorkerArguments::default()).await,
        Command::Api => serve(config, &[Role::Api], WorkerArguments::default()).await,
        Command::Migrate => migrate::run(&config).await,
        Command::Adopt { yes } => adopt::run(&config, yes).await,
        Command::Doctor { mailbox } => doctor::run(&config, mailbox.as_deref()).await,
        Command::Leases(command) => leases::run(&config, command).await,
        Command::Organization(command) => organization::run(&config, command).await,
        Command::Administer(command) => administer::run(&config.client, command).await,
        Command::Config | Command::Openapi => Ok(()),
    }
}

async fn serve(mut config: Config, roles: &[Role], arguments: WorkerArguments) -> Result<(), Failure> {
    if !arguments.workloads.is_empty() {
        config.worker.workloads = arguments.workloads;
    }
    let telemetry = Telemetry::start(&config.telemetry, &roles::names(roles))?;
    let result = served(config, roles, &telemetry).await;
    telemetry.flush();
    result
}

/// The fallible part of serving, so that telemetry is flushed on every way out.
async fn served(config: Config, roles: &[Role], telemetry: &Telemetry) -> Result<(), Failure> {
    let shutdown =
        Shutdown::on_signals(Duration::from_secs(config.process.drain_seconds)).map_err(Failure::Signals)?;
    if !config.telemetry.metrics_listen.is_empty() {
        telemetry::serve(&config.telemetry.metrics_listen, telemetry.registry(), shutdown.drain.clone())
            .await?;
    }
    tracing::info!(roles = roles::names(roles), version = env!("CARGO_PKG_VERSION"), "starting");
    roles::run(config, roles, &shutdown).await
}

fn distinct(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_unstable();
    roles.dedup();
    roles
}

fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

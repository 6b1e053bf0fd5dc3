//! `lockstep migrate`: the schema, the roles, the application's login, and the ledger of an installation that is new.

use std::time::Duration;

use model::id::InstallationId;
use model::secret::ExposeSecret as _;
use store::migrate::Migration;

use super::Failure;
use crate::config::{Config, Problem};

pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    let installation = config.installation_id()?;
    if config.migration.url.expose_secret().is_empty() {
        return Err(Failure::Configuration(Problem::new(
            "migration.url",
            "it is empty",
            "give the address of the database with the owner's login, postgres://owner:password@host:5432/lockstep",
        )));
    }
    let report = store::migrate::run(&Migration {
        owner_url: config.migration.url.clone(),
        application_url: config.database.url.clone(),
        ca_file: config.database.ca_file.clone(),
        installation,
    })
    .await?;
    if report.applied.is_empty() {
        println!("The schema is at version {}; nothing to do.", report.version);
    }
    for migration in &report.applied {
        println!("Applied {migration}.");
    }
    if report.login_created {
        println!("Created the application's login `{}`.", report.login);
    }
    if report.installation != installation {
        return Err(Failure::Said(format!(
            "the database belongs to installation {}, and `installation.id` is {installation}: it is a copy or the \
             wrong database, and no role will run on it\n  what to do: configure the id of the database's own \
             installation, use another database, or make the copy an installation of its own with \
             `lockstep adopt`",
            report.installation
        )));
    }
    println!("The database belongs to installation {installation}.");
    if report.named {
        begin_ledger(config, installation).await;
    }
    Ok(())
}

/// Of an installation that is new nobody can hold a connection, so that its coordinators need not wait for the end of
/// leases that they do not know of. Without Redis it goes on: they wait then.
pub(super) async fn begin_ledger(config: &Config, installation: InstallationId) {
    let coordinator = config.coordinator_of(installation);
    let patience = Duration::from_millis(coordinator.redis_timeout_millis);
    match coordinator::begin_ledger(&coordinator.redis_url, &coordinator.key_prefix, patience).await {
        Ok(true) => println!("Began its ledger of leases in Redis."),
        Ok(false) => {}
        Err(problem) => println!(
            "Its ledger of leases was not begun: {problem}. Its coordinators will grant nothing for {} s after their \
             first start.",
            coordinator.quiet_after_loss_millis.div_ceil(1_000)
        ),
    }
}

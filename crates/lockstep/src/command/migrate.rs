//! `lockstep migrate`: the schema, the roles and the application's login.

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
    Ok(())
}

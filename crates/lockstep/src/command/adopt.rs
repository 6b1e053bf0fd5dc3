//! `lockstep adopt`: a copied database becomes an installation of its own.

use model::secret::ExposeSecret as _;
use store::installation::{self, Adopted};

use super::Failure;
use super::administer::asked;
use crate::config::{Config, Problem};

pub(super) async fn run(config: &Config, yes: bool) -> Result<(), Failure> {
    let installation = config.installation_id()?;
    if config.migration.url.expose_secret().is_empty() {
        return Err(Failure::Configuration(Problem::new(
            "migration.url",
            "it is empty",
            "give the address of the database with the owner's login, postgres://owner:password@host:5432/lockstep",
        )));
    }
    let (url, ca_file) = (&config.migration.url, &config.database.ca_file);
    let found = installation::adoption(url, ca_file, installation).await?;
    if found.before == installation {
        println!("The database belongs to installation {installation} already; nothing to do.");
        return Ok(());
    }
    println!(
        "The database belongs to installation {}. As installation {installation}:\n\n  \
         {} mailboxes are switched off until each is tested again,\n  \
         {} pending sends are drafts again: they are the original's to send,\n  \
         jobs that wait are withdrawn, and followers of its change feed begin anew.\n\n\
         Records, settings and secrets stay. The original is not touched.\n",
        found.before, found.mailboxes, found.pending
    );
    if !yes && !asked("Is it a copy, and is it to be this installation's?")? {
        return Err(Failure::Said(
            "nothing was changed\n  what to do: repeat it when you are sure, or give --yes".to_owned(),
        ));
    }
    let Adopted { before, workloads } = installation::adopt(url, ca_file, installation).await?;
    super::migrate::begin_ledger(config, installation).await;
    println!(
        "The database was installation {before}'s and is this installation's now. {workloads} workloads are switched \
         off; test and enable their mailboxes (`lockstep mailbox test`)."
    );
    Ok(())
}

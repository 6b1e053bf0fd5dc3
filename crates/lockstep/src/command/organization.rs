//! `lockstep organization create`: the one thing that no API key can do, because there is none yet.

use model::actor::Actor;
use model::mailbox::Role;
use model::secret::ExposeSecret as _;
use serde_json::json;
use store::change::Author;
use store::key::KeyOwner;
use store::user::NewUser;

use super::Failure;
use crate::cli::OrganizationCommand;
use crate::config::Config;
use crate::roles;

pub(super) async fn run(config: &Config, command: OrganizationCommand) -> Result<(), Failure> {
    let OrganizationCommand::Create { name, admin, json } = command;
    let store = roles::opened(&config.database, config.installation_id()?).await?;
    let address: model::address::EmailAddress =
        admin.parse().map_err(|error| Failure::Said(format!("--admin: {error}")))?;
    let by = Author::new(Actor::Operator, "organization create");
    let organization = model::clock::new_id();
    let tenant = store.tenant(organization).await?;
    store::organization::create(&tenant, &name).await.map_err(refused)?;
    let user = store::user::create(
        &tenant,
        &NewUser {
            name: address.local_part().to_owned(),
            address: address.clone(),
            role: Role::Admin,
            external_id: None,
        },
        &by,
    )
    .await
    .map_err(refused)?;
    let (key, secret) =
        store::key::create(&tenant, "first key", &KeyOwner::User(user.id), &by).await.map_err(refused)?;
    tenant.commit().await?;
    if json {
        println!(
            "{}",
            json!({"organization": organization, "user": user.id, "key": key, "secret": secret.expose_secret()})
        );
        return Ok(());
    }
    println!("Created the organization {name} ({organization}) with the administrator {}.", user.id);
    println!(
        "\nThe administrator's API key, shown this once and stored nowhere:\n\n  {}\n",
        secret.expose_secret()
    );
    println!("Use it with `export LOCKSTEP__CLIENT__KEY=…`, then `lockstep status`.");
    Ok(())
}

fn refused(error: store::Error) -> Failure {
    match error {
        store::Error::Refused(refusal) => Failure::Said(refusal.to_string()),
        other => other.into(),
    }
}

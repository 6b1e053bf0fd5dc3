//! `lockstep doctor`: can every part be reached, and what to do if not.

use super::Failure;
use crate::config::Config;
use crate::roles;

pub(super) async fn run(config: &Config, mailbox: Option<&str>) -> Result<(), Failure> {
    let mut well = true;
    let mut found = |part: &str, result: Result<String, String>| match result {
        Ok(said) => println!("  ok    {part:<12} {said}"),
        Err(said) => {
            well = false;
            println!("  FAIL  {part:<12} {}", said.replace('\n', "\n                     "));
        }
    };
    println!("Looking at the parts of this installation:\n");
    found(
        "secrets",
        roles::key_ring(config).map(|_| "the key ring can be read".to_owned()).map_err(|e| e.to_string()),
    );
    found("Postgres", postgres(config).await);
    found("RabbitMQ", rabbitmq(config).await);
    found("Redis", redis(config).await);
    found("coordinator", coordinator(config).await);
    if let Some(mailbox) = mailbox {
        println!("\nTesting the mailbox {mailbox}:\n");
        super::administer::test_mailbox(&config.client, mailbox).await?;
    }
    if well {
        println!("\nEverything is well.");
        return Ok(());
    }
    println!();
    Err(Failure::NotWell)
}

async fn postgres(config: &Config) -> Result<String, String> {
    let installation = config.installation_id().map_err(|problem| problem.to_string())?;
    let away = |failure: &dyn std::fmt::Display| {
        format!(
            "{failure}\nwhat to do: check `database.url`, that Postgres runs there, and that `lockstep migrate` has run"
        )
    };
    let store = roles::opened(&config.database, installation).await.map_err(|failure| away(&failure))?;
    let lacking = store.lacking_durability().await.map_err(|error| away(&error))?;
    let commits = if lacking.is_empty() {
        "commits outlive a crash".to_owned()
    } else {
        format!(
            "but a crash of its machine may lose mail that was deleted on its server: switch on {} in postgresql.conf",
            lacking.join(" and ")
        )
    };
    Ok(format!("schema version {}, installation {installation}, {commits}", store::migrate::latest()))
}

async fn rabbitmq(config: &Config) -> Result<String, String> {
    broker::check(&config.broker).await.map(|report| report.to_string()).map_err(|error| error.to_string())
}

async fn redis(config: &Config) -> Result<String, String> {
    coordinator::check_redis(&config.coordinator)
        .await
        .map(|report| report.to_string())
        .map_err(|error| error.to_string())
}

async fn coordinator(config: &Config) -> Result<String, String> {
    throttle::check(&config.throttle)
        .await
        .map(|report| report.to_string())
        .map_err(|error| error.to_string())
}

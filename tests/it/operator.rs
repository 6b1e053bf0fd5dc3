//! What an operator does: migrate an empty database, run a set of roles, look whether all is well, and mistakes.

use lockstep_tests::Installation;

#[tokio::test]
async fn an_empty_database_becomes_an_installation_and_another_ones_is_refused() {
    let mut installation = Installation::new().await;
    let name = format!("empty_{}", installation.virtual_host);
    installation.servers.postgres.create_database(&name).await;
    let port = installation.servers.postgres.port;
    installation
        .configuration
        .set("database.url", format!("postgres://lockstep_app:geheim@127.0.0.1:{port}/{name}"));
    installation.configuration.set("migration.url", installation.servers.postgres.owner_url(&name));
    let id = model::clock::new_id::<uuid::Uuid>().to_string();
    installation.configuration.set("installation.id", id.as_str());

    let early =
        installation.run(&["organization", "create", "Early", "--admin", "admin@early.example"]).await;
    let words = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(!early.status.success() && words.contains("migrate"), "{words}");
    for first in [true, false] {
        let output = installation.run(&["migrate"]).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(words.contains("Began its ledger"), first, "{words}");
    }
    let mut process = installation.start_all().await;
    let leases = installation.run(&["leases", "list", "--json"]).await;
    let leases: serde_json::Value = serde_json::from_slice(&leases.stdout).unwrap();
    assert_eq!(leases["quiet_for_ms"], 0, "a new installation waits for nobody: {leases}");
    let api = installation.organization("First").await;
    assert_eq!(api.list("/users").await.len(), 1);

    let doctor = installation.run(&["doctor"]).await;
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.status.success(), "{words}{}", String::from_utf8_lossy(&doctor.stderr));
    assert!(words.contains("RabbitMQ") && words.contains("Redis") && words.contains("Postgres"), "{words}");
    assert!(
        words.contains("switch on fsync and full_page_writes"),
        "the tests' Postgres is careless: {words}"
    );
    assert_eq!(process.terminate().await.code(), Some(0), "{}", process.log());
    let doctor = installation.run(&["doctor"]).await;
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && words.contains("FAIL"), "the coordinator is away: {words}");

    // A copy of the database does not start under another id.
    installation.configuration.set("installation.id", model::clock::new_id::<uuid::Uuid>().to_string());
    let mut process = installation.start("scheduler");
    assert_ne!(process.ended().await.code(), Some(0));
    assert!(process.log().contains(&id), "{}", process.log());
}

#[tokio::test]
async fn a_mistake_in_the_configuration_exits_64_with_key_cause_and_remedy() {
    let installation = Installation::new().await;
    for (key, value) in [
        ("scheduler.scan_millis", "often".into()),
        ("installation.id", "not an id".into()),
        ("secrets.key_ring", "short:AAAA".into()),
        ("throttle.no_such_key", toml::Value::Integer(1)),
        ("coordinator.renew_millis", toml::Value::Integer(60_000)),
        ("broker.url", "http://example".into()),
        ("database.url", "not a url".into()),
        ("telemetry.log_level", "lockstep=louder".into()),
    ] {
        let configuration = installation.configuration.clone().with(key, value);
        let mut process = installation.start_with("scheduler,coordinator,worker,jobs,api", &configuration);
        let code = process.ended().await.code();
        let words = process.log();
        assert_eq!(code, Some(64), "{key}: {words}");
        let name = key.rsplit('.').next().unwrap();
        assert!(words.contains(name) && words.contains("what to do"), "{key}: {words}");
        assert!(!words.contains("panicked"), "{words}");
    }
}

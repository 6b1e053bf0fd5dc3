//! The lines between our own parts: private where the operator says so, to nobody else than is named, and never without TLS
//! by accident.

use std::process::Output;

use lockstep_tests::{Configuration, Installation, Otlp, command, until};
use servers::TlsFront;

use crate::house::House;

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The address of the test's database by this host name, with TLS asked for.
fn with_tls(url: &str, host: &str) -> String {
    format!("{}?sslmode=require", url.replace("127.0.0.1", host))
}

#[tokio::test]
async fn postgres_and_rabbitmq_are_spoken_to_over_tls_with_an_own_authority() {
    let mut installation = Installation::new().await;
    let (postgres, rabbitmq) = (&installation.servers.postgres, &installation.servers.rabbitmq);
    let (of_postgres, of_rabbitmq) = (installation.file("postgres.pem"), installation.file("rabbitmq.pem"));
    std::fs::write(&of_postgres, postgres.ca_pem()).unwrap();
    std::fs::write(&of_rabbitmq, rabbitmq.ca_pem()).unwrap();
    let url = with_tls(installation.configuration.get("database.url").unwrap(), "localhost");
    let amqps = rabbitmq.amqps_uri("localhost", &installation.virtual_host);
    for (key, value) in [
        ("database.url", url),
        ("database.ca_file", of_postgres.display().to_string()),
        ("broker.url", amqps),
        ("broker.ca_file", of_rabbitmq.display().to_string()),
    ] {
        installation.configuration.set(key, value);
    }
    let process = installation.start_all().await;
    let profile = lockstep_tests::MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.deliver(&anna, "over private lines", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    // Every session of the application's login has TLS, the one that listens included.
    let sessions = |ssl| {
        format!(
            "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid)
             where a.datname = current_database() and a.usename <> 'postgres' and s.ssl = {ssl}"
        )
    };
    assert!(house.installation.count(&sessions(true)).await > 0);
    assert_eq!(house.installation.count(&sessions(false)).await, 0);
    drop(process);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_stops_postgres_and_rabbitmq_before_anything_is_said() {
    let installation = Installation::new().await;
    let url = with_tls(installation.configuration.get("database.url").unwrap(), "localhost");
    let amqps = installation.servers.rabbitmq.amqps_uri("localhost", &installation.virtual_host);
    for (key, value, named) in [("database.url", url, "Postgres"), ("broker.url", amqps, "RabbitMQ")] {
        let configuration = installation.configuration.clone().with(key, value);
        let doctor = run(&installation, &configuration, &["doctor"]).await;
        let line = words(&doctor);
        let line = line.lines().find(|line| line.contains(named) && line.contains("FAIL")).map(str::to_owned);
        assert!(line.is_some(), "{named}: {}", words(&doctor));
    }
}

#[tokio::test]
async fn a_broker_by_a_name_that_its_certificate_does_not_have_is_not_spoken_to() {
    let installation = Installation::new().await;
    let rabbitmq = &installation.servers.rabbitmq;
    let authority = installation.file("rabbitmq.pem");
    std::fs::write(&authority, rabbitmq.ca_pem()).unwrap();
    // The machine's own name leads to it as well, and is nothing that the certificate has.
    let right = rabbitmq.amqps_uri("localhost", &installation.virtual_host);
    let wrong = rabbitmq.amqps_uri(&hostname(), &installation.virtual_host);
    let doctor = async |url: String| {
        let ca = authority.display().to_string();
        let configuration =
            installation.configuration.clone().with("broker.url", url).with("broker.ca_file", ca);
        let doctor = run(&installation, &configuration, &["doctor"]).await;
        let said = words(&doctor);
        said.lines().find(|line| line.contains("RabbitMQ")).unwrap_or_default().to_owned()
    };
    let (right, wrong) = (doctor(right).await, doctor(wrong).await);
    assert!(!right.contains("FAIL"), "{right}");
    assert!(wrong.contains("FAIL"), "{wrong}");
}

#[tokio::test]
async fn the_command_line_speaks_to_the_api_over_verified_tls_and_to_no_stranger_without() {
    let installation = Installation::new().await;
    let _process = installation.start_all().await;
    let api = installation.organization("Example").await;
    let me = api.get("/me").await;
    let key = api.post("/keys", &serde_json::json!({"name": "cli", "user": me["user"]["id"]})).await;
    let secret = key.body["key"].as_str().unwrap().to_owned();
    let address = installation.configuration.get("api.listen").unwrap().parse().unwrap();
    let front = TlsFront::start(address).await;
    let authority = installation.file("api.pem");
    std::fs::write(&authority, front.ca_pem()).unwrap();
    let client = installation
        .configuration
        .clone()
        .with("client.url", format!("https://localhost:{}", front.port))
        .with("client.key", secret.as_str());

    let known = client.clone().with("client.ca_file", authority.display().to_string());
    let listed = run(&installation, &known, &["user", "list"]).await;
    assert!(
        listed.status.success() && words(&listed).contains("admin@example.example"),
        "{}",
        words(&listed)
    );
    let unknown = run(&installation, &client, &["user", "list"]).await;
    assert!(!unknown.status.success() && words(&unknown).contains("certificate"), "{}", words(&unknown));
    let plain = known.with("client.url", "http://lockstep.example.com:8080");
    let plain = run(&installation, &plain, &["user", "list"]).await;
    assert_eq!(plain.status.code(), Some(64), "{}", words(&plain));
    assert!(words(&plain).contains("without TLS") && !words(&plain).contains(&secret), "{}", words(&plain));
}

#[tokio::test]
async fn a_redis_over_tls_is_refused_at_the_start_and_not_spoken_to_in_the_clear() {
    let installation = Installation::new().await.with("coordinator.redis_url", "rediss://127.0.0.1:1/0");
    let mut process = installation.start("coordinator");
    assert_eq!(process.ended().await.code(), Some(64), "{}", process.log());
    assert!(process.log().contains("redis_url"), "{}", process.log());
}

#[tokio::test]
async fn metrics_arrive_at_a_collector_and_never_name_a_mailbox() {
    let otlp = Otlp::start().await;
    let installation = Installation::new().await.with("telemetry.otlp_url", otlp.url());
    let mut process = installation.start_all().await;
    let profile = lockstep_tests::MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.deliver(&anna, "measured", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    // What was measured is sent at the latest when the process ends.
    assert_eq!(process.terminate().await.code(), Some(0), "{}", process.log());
    until("the collector has the metrics", async || {
        let metrics = otlp.metrics();
        let names: Vec<_> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let wanted = ["lockstep.scheduler.published", "lockstep.cycle.duration", "lockstep.cycle.items"];
        let missing: Vec<_> = wanted.iter().filter(|wanted| !names.contains(wanted)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are missing in {names:?}")) }
    })
    .await;
    let told = format!("{:?}", otlp.metrics());
    assert!(!told.contains(&anna.id) && !told.contains(&anna.address), "metrics are never per mailbox");
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim().to_owned()
}

async fn run(installation: &Installation, configuration: &Configuration, arguments: &[&str]) -> Output {
    let file = installation.file("other.toml");
    configuration.write(&file);
    command(arguments, &file).output().await.expect("lockstep can be started")
}

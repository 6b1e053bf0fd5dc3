//! What the demo plays on: the servers, and `lockstep` as one process for each role, configured as a newcomer would, with
//! the defaults for everything but addresses and secrets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use exchange::Exchange;
use futures_util::future::join_all;
use model::clock;
use uuid::Uuid;

use super::screen::Screen;
use crate::process::command;
use crate::{Api, Configuration, Process, Servers, free_port, within};

const DATABASE: &str = "lockstep";
/// The roles by the names of their processes; the coordinator first, because the others ask it.
const PROCESSES: [(&str, &str); 6] = [
    ("coordinator", "coordinator"),
    ("scheduler", "scheduler"),
    ("worker-1", "worker"),
    ("worker-2", "worker"),
    ("jobs", "jobs"),
    ("api", "api"),
];
const START_LIMIT: Duration = Duration::from_secs(60);

/// Servers, configuration and processes.
pub(super) struct Stage<'a> {
    pub(super) servers: Arc<Servers>,
    pub(super) configuration: Configuration,
    pub(super) directory: &'a Path,
    pub(super) processes: Vec<Running>,
    /// The Exchange server, once it is there.
    pub(super) exchange: Option<Exchange>,
}

/// A process with the port of its metrics.
pub(super) struct Running {
    pub(super) name: &'static str,
    pub(super) process: Process,
    pub(super) metrics: u16,
}

impl<'a> Stage<'a> {
    /// Starts the servers and writes the configuration that leads to them.
    pub(super) async fn open(directory: &'a Path, screen: &Screen) -> Result<Self, String> {
        let step = screen.step("Servers", "starting RabbitMQ, Postgres, Redis, Dovecot and Postfix");
        let servers = Servers::start().await.map_err(|error| error.to_string())?;
        servers.postgres.create_database(DATABASE).await;
        let version = sql(&servers).await?.query_one("show server_version", &[]).await;
        let version: String = version.and_then(|row| row.try_get(0)).map_err(|error| error.to_string())?;
        let version = version.split(' ').next().unwrap_or_default();
        step.done(&format!("private RabbitMQ, Postgres {version}, Redis, Dovecot and Postfix"));
        let configuration = configuration(&servers);
        Ok(Self { servers, configuration, directory, processes: Vec::new(), exchange: None })
    }

    /// Runs a command of `lockstep` to its end and gives what it printed.
    pub(super) async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let file = self.directory.join("lockstep.toml");
        self.configuration.write(&file);
        let output = command(arguments, &file).output().await.map_err(|error| error.to_string())?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("`lockstep {}` failed: {}", arguments.join(" "), words.trim()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a process for each role, and waits until each says that it is well.
    pub(super) async fn start(&mut self, screen: &Screen) -> Result<(), String> {
        let step = screen.step("Lockstep", "starting a process for each role");
        for (name, roles) in PROCESSES {
            let metrics = free_port();
            let file = self.directory.join(format!("{name}.toml"));
            self.configuration
                .clone()
                .with("telemetry.metrics_listen", format!("127.0.0.1:{metrics}"))
                .write(&file);
            let log = self.directory.join(format!("{name}.log"));
            let process = Process::start(name, &["run", "--roles", roles], &file, log, &[]);
            self.processes.push(Running { name, process, metrics });
        }
        let client = Api::client();
        let ready = format!("{}/ready", self.url());
        for Running { name, process, metrics } in &mut self.processes {
            step.awaits(&format!("waiting for the {name} to say that it is well"));
            let mut urls = vec![format!("http://127.0.0.1:{metrics}/health")];
            if *name == "api" {
                urls.push(ready.clone());
            }
            for url in urls {
                let well = within(START_LIMIT, async || {
                    if let Some(status) = process.has_ended() {
                        // Told to nobody but the one who waits: it will not come back.
                        return Ok(Err(format!("it ended with {status}")));
                    }
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status().is_success() => Ok(Ok(())),
                        Ok(answer) => Err(answer.status().to_string()),
                        Err(_) => Err("nobody answers".to_owned()),
                    }
                });
                well.await.and_then(|well| well).map_err(|seen| {
                    format!(
                        "the {name} does not start: {seen}; the end of its log:\n{}",
                        end_of(&process.log())
                    )
                })?;
            }
        }
        step.done("six processes: scheduler, coordinator, two workers, jobs, api");
        Ok(())
    }

    /// Where the API is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.configuration.get("api.listen").unwrap_or_default())
    }

    /// Ends all processes in good order: no new work first, the leases last.
    pub(super) async fn stop(&mut self) -> Vec<String> {
        let (coordinator, others): (Vec<_>, Vec<_>) =
            self.processes.drain(..).partition(|running| running.name == "coordinator");
        let mut complaints = Vec::new();
        for group in [others, coordinator] {
            let ended = join_all(group.into_iter().map(async |mut running| {
                let status = running.process.terminate().await;
                (!status.success()).then(|| format!("the {} ended with {status}", running.name))
            }));
            complaints.extend(ended.await.into_iter().flatten());
        }
        complaints
    }
}

/// A session of the database's owner, who sees every row: for checking what Lockstep says.
pub(super) async fn sql(servers: &Servers) -> Result<tokio_postgres::Client, String> {
    let url = servers.postgres.owner_url(DATABASE);
    let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(|error| format!("Postgres does not answer: {error}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// What differs from config.default.toml: where things are, and secrets.
fn configuration(servers: &Servers) -> Configuration {
    let secret = BASE64_STANDARD.encode(clock::random_bytes::<32>());
    let token = clock::new_id::<Uuid>().simple().to_string();
    let coordinator = format!("127.0.0.1:{}", free_port());
    let api = format!("127.0.0.1:{}", free_port());
    let (postgres, redis) = (servers.postgres.port, servers.redis.url());
    Configuration::default()
        .with("installation.id", clock::new_id::<Uuid>().to_string())
        .with("database.url", format!("postgres://lockstep@127.0.0.1:{postgres}/{DATABASE}"))
        .with("migration.url", servers.postgres.owner_url(DATABASE))
        .with("secrets.key_ring", format!("demo:{secret}"))
        .with("broker.url", servers.rabbitmq.amqp_uri("/"))
        .with("coordinator.listen", coordinator.as_str())
        .with("coordinator.token", token.as_str())
        .with("coordinator.redis_url", redis)
        .with("throttle.urls", vec![format!("http://{coordinator}")])
        .with("throttle.token", token.as_str())
        .with("network.allow", vec!["127.0.0.0/8"])
        .with("api.listen", api.as_str())
        .with("client.url", format!("http://{api}"))
}

fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

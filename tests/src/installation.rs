//! One installation of Lockstep: a database, a virtual host, a ledger and an id of its own, and any processes on them.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use model::clock;
use model::secret::{ExposeSecret as _, Secret};
use serde_json::Value;
use store::testing::{self, TestDatabase};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::process::command;
use crate::{Api, Configuration, Process, Servers, ports};

/// An installation. Its processes are killed when they are dropped; when a test fails, the ends of their logs are shown.
pub struct Installation {
    /// What it runs on.
    pub servers: Arc<Servers>,
    /// Its database.
    pub database: TestDatabase,
    /// What its processes are started with.
    pub configuration: Configuration,
    /// Its name in `RabbitMQ`.
    pub virtual_host: String,
    owner: OnceCell<Client>,
    directory: TempDir,
    started: AtomicU32,
}

impl Installation {
    /// An installation on the servers of this process, with short times.
    ///
    /// # Panics
    /// When it cannot be made, with the cause.
    pub async fn new() -> Self {
        Self::on(Servers::shared().await).await
    }

    /// An installation on these servers.
    ///
    /// # Panics
    /// When it cannot be made, with the cause.
    pub async fn on(servers: Arc<Servers>) -> Self {
        let database = TestDatabase::create(&servers.postgres.owner_url("postgres")).await;
        let database = database.unwrap_or_else(|error| panic!("no database could be made: {error}"));
        let virtual_host = clock::new_id::<Uuid>().simple().to_string();
        servers.rabbitmq.create_vhost(&virtual_host).await;
        let configuration = configuration(&servers, &database, &virtual_host);
        // As the migration of a database does that is new.
        let ledger = format!("{virtual_host}:{}", database.installation);
        let redis = Secret::from(configuration.get("coordinator.redis_url").unwrap_or_default());
        let begun = coordinator::begin_ledger(&redis, &ledger, Duration::from_secs(5)).await;
        begun.unwrap_or_else(|error| panic!("no ledger could be begun: {error}"));
        let directory = tempfile::Builder::new().prefix("lockstep-test.").tempdir().expect("a directory");
        let (owner, started) = (OnceCell::new(), AtomicU32::new(0));
        Self { servers, database, configuration, virtual_host, owner, directory, started }
    }

    /// Sets a key for the processes that are started from now on.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.configuration.set(key, value);
        self
    }

    /// Starts a process with these roles (`worker`, `scheduler,api`).
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, roles: &str) -> Process {
        self.start_with(roles, &self.configuration)
    }

    /// Starts a process with another configuration.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with(&self, roles: &str, configuration: &Configuration) -> Process {
        self.start_in(roles, configuration, &[])
    }

    /// Starts a process with another configuration and something in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_in(
        &self,
        roles: &str,
        configuration: &Configuration,
        environment: &[(String, String)],
    ) -> Process {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        let file = self.file(&format!("{number}.toml"));
        configuration.write(&file);
        let log = self.file(&format!("{number}-{}.log", roles.replace(',', "-")));
        Process::start(roles, &["run", "--roles", roles], &file, log, environment)
    }

    /// Starts every role in one process and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started or does not answer.
    pub async fn start_all(&self) -> Process {
        let mut process = self.start("scheduler,coordinator,worker,jobs,api");
        self.ready(&mut process).await;
        process
    }

    /// Waits until the API, which `process` runs, answers.
    ///
    /// # Panics
    /// When it ends or does not answer within a minute.
    pub async fn ready(&self, process: &mut Process) {
        let url = format!("{}/ready", self.url());
        let client = Api::client();
        crate::until("the API answers", async || {
            if let Some(status) = process.has_ended() {
                panic!("{} ended with {status} instead of starting:\n{}", process.name, process.log());
            }
            match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Runs another command of `lockstep` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let file = self.file("command.toml");
        self.configuration.write(&file);
        command(arguments, &file).output().await.expect("lockstep can be started")
    }

    /// Creates an organization by the command line and gives its first administrator's access to the API.
    ///
    /// # Panics
    /// When it cannot be created, with the command's words.
    pub async fn organization(&self, name: &str) -> Api {
        let admin = format!("admin@{}.example", name.to_lowercase().replace(' ', "-"));
        let output = self.run(&["organization", "create", name, "--admin", &admin, "--json"]).await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the organization cannot be created: {words}");
        let created: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
        Api::new(&self.url(), &text("secret"), &text("organization"))
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.configuration.get("api.listen").unwrap_or_default())
    }

    /// A session of the database's owner, who sees every organization: for looking at what happened.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn sql(&self) -> &Client {
        let connect = async || self.database.owner().await.expect("a session of the owner");
        self.owner.get_or_init(connect).await
    }

    /// The one number that a statement gives.
    ///
    /// # Panics
    /// When Postgres refuses the statement, with its words.
    pub async fn count(&self, statement: &str) -> i64 {
        match self.sql().await.query_one(statement, &[]).await {
            Ok(row) => row.get(0),
            Err(error) => panic!("{statement}: {}", error.as_db_error().map_or("", |error| error.message())),
        }
    }

    /// Executes a statement as the owner, and says how many rows it touched.
    ///
    /// # Panics
    /// When Postgres refuses the statement, with its words.
    pub async fn execute(&self, statement: &str) -> u64 {
        match self.sql().await.execute(statement, &[]).await {
            Ok(rows) => rows,
            Err(error) => panic!("{statement}: {}", error.as_db_error().map_or("", |error| error.message())),
        }
    }

    /// Lets time pass for everything that the database knows.
    ///
    /// # Panics
    /// When Postgres refuses.
    pub async fn pass(&self, duration: Duration) {
        testing::pass(&self.database, duration).await.expect("time passes");
    }

    /// A file in the installation's own directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What all processes have said so far, as `(file name, text)`.
    ///
    /// # Panics
    /// When a log cannot be read.
    pub fn logs(&self) -> Vec<(String, String)> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the directory of the logs");
        let logs = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            let text =
                std::fs::read(&path).ok().filter(|_| path.extension().is_some_and(|kind| kind == "log"))?;
            Some((name, String::from_utf8_lossy(&text).into_owned()))
        });
        let mut logs: Vec<_> = logs.collect();
        logs.sort();
        logs
    }
}

impl Drop for Installation {
    #[expect(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (name, text) in self.logs() {
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- the end of {name}");
            for line in &lines[lines.len().saturating_sub(40)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Times short enough for tests, long enough for a busy machine.
fn configuration(servers: &Servers, database: &TestDatabase, virtual_host: &str) -> Configuration {
    let secret = BASE64_STANDARD.encode(clock::random_bytes::<32>());
    let token = clock::new_id::<Uuid>().simple().to_string();
    let coordinator = format!("127.0.0.1:{}", ports::free_port());
    Configuration::default()
        .with("installation.id", database.installation.to_string())
        .with("database.url", database.url.expose_secret())
        .with("database.pool_size", 8)
        .with("migration.url", database.owner_url.expose_secret())
        .with("secrets.key_ring", format!("test:{secret}"))
        .with("broker.url", servers.rabbitmq.amqp_uri(virtual_host))
        .with("coordinator.listen", coordinator.as_str())
        .with("coordinator.token", token.as_str())
        .with("coordinator.redis_url", servers.redis_url())
        .with("coordinator.key_prefix", virtual_host)
        .with("coordinator.lease_millis", 3000)
        .with("coordinator.renew_millis", 1000)
        .with("coordinator.retry_seconds", 1)
        .with("throttle.urls", vec![format!("http://{coordinator}")])
        .with("throttle.token", token.as_str())
        .with("throttle.away_snooze_seconds", 1)
        .with("network.allow", vec!["127.0.0.0/8"])
        .with("scheduler.scan_millis", 100)
        .with("scheduler.sweep_seconds", 1)
        .with("scheduler.repair_seconds", 5)
        .with("worker.session.beat_seconds", 1)
        .with("worker.session.dead_after_seconds", 3)
        .with("jobs.session.beat_seconds", 1)
        .with("jobs.session.dead_after_seconds", 3)
        .with("jobs.retry_seconds", 1)
        .with("api.listen", format!("127.0.0.1:{}", ports::free_port()))
        .with("process.drain_seconds", 20)
}

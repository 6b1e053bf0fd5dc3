//! An installation of the test's own: servers, the binary with its roles, and one organization's administrator.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use servers::{MailServers, Postgres, RabbitMq, Redis};
use tempfile::TempDir;

use crate::program::{Ended, ended, lockstep, run};

const INSTALLATION: &str = "5e5a2c0e-0000-4000-8000-00000000c11e";
/// 32 bytes in base64; fit for a test alone.
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A running installation. Ends with the test.
pub(crate) struct House {
    roles: Child,
    pub(crate) directory: TempDir,
    configuration: PathBuf,
    key: String,
    pub(crate) mail: Option<MailServers>,
    _postgres: Postgres,
    _others: Option<(RabbitMq, Redis)>,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.roles.kill();
        let _ = self.roles.wait();
    }
}

impl House {
    /// Every role, with a mail provider.
    pub(crate) async fn whole() -> Self {
        let (postgres, rabbitmq, redis, mail) =
            tokio::join!(Postgres::start(), RabbitMq::start(), Redis::start(), MailServers::start());
        Self::over(postgres, Some((rabbitmq, redis)), Some(mail)).await
    }

    /// The API alone.
    pub(crate) async fn api() -> Self {
        Self::over(Postgres::start().await, None, None).await
    }

    async fn over(postgres: Postgres, others: Option<(RabbitMq, Redis)>, mail: Option<MailServers>) -> Self {
        postgres.create_database("lockstep").await;
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("lockstep.toml");
        let (api, coordinator) = (free_port(), free_port());
        let parts = others.as_ref().map_or_else(String::new, |(rabbitmq, redis)| {
            format!(
                "[broker]\nurl = \"{}\"\n[coordinator]\nredis_url = \"{}\"\ntoken = \"{SECRET}\"\n\
                 listen = \"127.0.0.1:{coordinator}\"\n[throttle]\ntoken = \"{SECRET}\"\n\
                 urls = [\"http://127.0.0.1:{coordinator}\"]\n",
                rabbitmq.amqp_uri("/"),
                redis.url()
            )
        });
        let text = format!(
            "[installation]\nid = \"{INSTALLATION}\"\n\
             [database]\nurl = \"postgres://lockstep@127.0.0.1:{}/lockstep\"\n\
             [migration]\nurl = \"{}\"\n\
             [secrets]\nkey_ring = \"test:{SECRET}\"\n\
             [network]\nallow = [\"127.0.0.0/8\", \"::1/128\"]\n\
             [telemetry]\nmetrics_listen = \"\"\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n\
             [client]\nurl = \"http://127.0.0.1:{api}\"\n{parts}",
            postgres.port,
            postgres.owner_url("lockstep"),
        );
        std::fs::write(&configuration, text).unwrap();
        let file = configuration.to_str().unwrap();
        succeeded(&run(lockstep(&["--config", file, "migrate"])));
        let roles: &[&str] = if others.is_some() { &["run"] } else { &["api"] };
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let roles = lockstep(&[&["--config", file], roles].concat())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let made =
            ["--config", file, "organization", "create", "Example", "--admin", "grace@example.com", "--json"];
        let made = run(lockstep(&made));
        succeeded(&made);
        let key = serde_json::from_str::<Value>(&made.out).unwrap()["secret"].as_str().unwrap().to_owned();
        let mut house =
            Self { roles, directory, configuration, key, mail, _postgres: postgres, _others: others };
        house.is_up(api).await;
        house
    }

    async fn is_up(&mut self, port: u16) {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = self.roles.try_wait().unwrap() {
                panic!("the roles ended ({status}):\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the roles logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = lockstep(arguments);
        command.env("LOCKSTEP_CONFIG", &self.configuration).env("LOCKSTEP__CLIENT__KEY", &self.key);
        command
    }

    /// A command as the administrator, however it ends.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Ended {
        run(self.command(arguments))
    }

    /// A command as the administrator; what it prints.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let ended = self.try_run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}\n{}{}\n{}", ended.out, ended.err, self.log());
        ended.out
    }

    /// A command as the administrator; the document that it prints.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// A command that is refused; what it says.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let ended = self.try_run(arguments);
        assert_eq!(ended.code, 1, "{arguments:?}\n{}{}", ended.out, ended.err);
        ended.err
    }

    /// A command that is fed.
    #[track_caller]
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ended = ended(&child.wait_with_output().unwrap());
        succeeded(&ended);
        ended.out
    }
}

#[track_caller]
fn succeeded(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

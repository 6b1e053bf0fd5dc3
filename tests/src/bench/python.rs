//! Python's job engines, as their own documentation runs them, on a broker of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use servers::RabbitMq;
use tokio::process::{Child, Command};

use super::{Trouble, rate};

const VHOST: &str = "python";
/// How long an engine may take until the first job moves: celery's beat reads its entries first.
const START: Duration = Duration::from_secs(180);

/// celery's beat.
pub(super) struct Beat;

/// An engine with jobs that do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Celery,
    Dramatiq,
}

impl Beat {
    /// Entries a second that a beat with so many, all due all the time, gets rid of.
    pub(super) async fn measure(entries: u32) -> Result<f64, Trouble> {
        let broker = Broker::start().await?;
        broker.declare("beat").await?;
        let mut beat = program("celery", &broker)
            .env("ENTRIES", entries.to_string())
            .args(["-A", "beat", "beat", "-S", "celery.beat:Scheduler", "--pidfile=", "-l", "ERROR"])
            .spawn()?;
        let before = broker.wait("beat", START, |depth| depth > 0).await?;
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let emitted = broker.depth("beat").await?.saturating_sub(before);
        let rate = rate(usize::try_from(emitted)?, begun);
        end(&mut beat).await;
        Ok(rate)
    }
}

impl Engine {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Celery => "celery acks_late, 4 processes",
            Self::Dramatiq => "dramatiq, 4 processes of 8 threads",
        }
    }

    /// Jobs a second that it takes from a full queue and acknowledges.
    pub(super) async fn measure(self, jobs: u32) -> Result<f64, Trouble> {
        let broker = Broker::start().await?;
        let (module, worker, arguments) = match self {
            Self::Celery => {
                ("empty_celery", "celery", &["-A", "empty_celery", "worker", "-c", "4", "-l", "ERROR"][..])
            }
            Self::Dramatiq => ("empty_dramatiq", "dramatiq", &["empty_dramatiq", "-p", "4", "-t", "8"][..]),
        };
        let filled = program("python", &broker)
            .arg(directory().join(format!("{module}.py")))
            .env("JOBS", jobs.to_string())
            .status()
            .await?;
        if !filled.success() {
            return Err(format!("{} did not take the jobs", self.name()).into());
        }
        // What publishes without confirms has ended before the broker has everything.
        broker.wait("empty", START, |depth| depth == jobs).await?;
        let mut workers = program(worker, &broker).args(arguments).spawn()?;
        let before = broker.wait("empty", START, |depth| depth < jobs).await?;
        let begun = Instant::now();
        broker.wait("empty", START, |depth| depth == 0).await?;
        let rate = rate(usize::try_from(before)?, begun);
        end(&mut workers).await;
        Ok(rate)
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench")
}

/// A program of the virtual environment that `tests/bench/setup.sh` makes.
fn program(name: &str, broker: &Broker) -> Command {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/python/bin");
    let mut command = Command::new(programs.join(name));
    command
        .current_dir(directory())
        .env("BROKER", broker.node.amqp_uri(VHOST))
        .env("PYTHONPATH", directory())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Ends an engine and the processes that it started, which it does itself when it is asked.
async fn end(child: &mut Child) {
    if let Some(id) = child.id() {
        let _ = Command::new("kill").args(["-TERM", &id.to_string()]).status().await;
    }
    if tokio::time::timeout(Duration::from_secs(20), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

struct Broker {
    node: RabbitMq,
    connection: Connection,
}

impl Broker {
    async fn start() -> Result<Self, Trouble> {
        let node = RabbitMq::start().await;
        node.create_vhost(VHOST).await;
        let connection = Connection::connect(&node.amqp_uri(VHOST), ConnectionProperties::default()).await?;
        Ok(Self { node, connection })
    }

    async fn channel(&self) -> Result<Channel, Trouble> {
        Ok(self.connection.create_channel().await?)
    }

    async fn declare(&self, queue: &str) -> Result<(), Trouble> {
        let options = QueueDeclareOptions::durable();
        self.channel().await?.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(())
    }

    async fn depth(&self, queue: &str) -> Result<u32, Trouble> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let found = self.channel().await?.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        Ok(found.message_count())
    }

    /// The first depth that is as wanted.
    async fn wait(&self, queue: &str, most: Duration, wanted: impl Fn(u32) -> bool) -> Result<u32, Trouble> {
        let begun = Instant::now();
        while begun.elapsed() < most {
            let depth = self.depth(queue).await?;
            if wanted(depth) {
                return Ok(depth);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("the queue {queue} never came to what was waited for").into())
    }
}

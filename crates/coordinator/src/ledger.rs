//! The ledger in Redis: which leases there are, and which coordinator holds the pen.
//!
//! This is the only place that writes leases. Every write is refused unless the pen is still ours, and no clock decides
//! anything here. A write that failed may have been carried out all the same.

pub(crate) mod line;

use std::sync::Arc;
use std::time::Duration;

use model::clock;
use model::secret::{ExposeSecret as _, Secret};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, AsyncConnectionConfig, RedisError, RedisResult, Script};
use uuid::Uuid;

use crate::book::Changes;
use crate::config::Config;
use crate::redis_check::RedisProblem;

/// What the ledger says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Made with the ledger and lost with it; none when there is no ledger.
    pub(crate) epoch: Option<String>,
    /// Who holds the pen.
    pub(crate) pen: Option<Uuid>,
    /// How many batches were written: it grows as long as somebody writes.
    pub(crate) sequence: u64,
    /// Nothing is to be granted yet, because data was lost.
    pub(crate) quiet: bool,
    /// The run of Redis that it was last taken or restored in.
    pub(crate) run: String,
}

/// The Redis that runs now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) id: String,
    /// It has every write in a log, so that a restart forgets nothing. One that was a replica before may have lagged.
    pub(crate) keeps: bool,
}

/// What a coordinator needs to say that a write is its own.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    pub(crate) id: Uuid,
    pub(crate) epoch: String,
    pub(crate) sequence: u64,
    pub(crate) quiet: bool,
}

/// What the last holder of the pen wrote down: leases with their records, keys held back, each with for how long, and what
/// is spent of rates.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) leases: Vec<(Uuid, String)>,
    pub(crate) holds: Vec<(String, Duration)>,
    /// What is spent of rates.
    pub(crate) rates: Vec<(String, String)>,
}

/// What came of putting everything back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    Done,
    /// Somebody else took the pen.
    AnothersPen,
    /// The ledger is not as it was seen a moment ago.
    Moved,
}

#[derive(Debug)]
struct Scripts {
    commit: Script,
    take: Script,
    restore: Script,
}

/// The door to one ledger.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    client: redis::Client,
    scripts: Arc<Scripts>,
    prefix: String,
    timeout: Duration,
}

/// A connection to the ledger. After an error it must be thrown away: a late answer could be taken for another's.
#[derive(Clone)]
pub(crate) struct Connection {
    ledger: Ledger,
    connection: MultiplexedConnection,
}

impl Ledger {
    pub(crate) fn new(config: &Config) -> RedisResult<Self> {
        Self::at(&config.redis_url, prefix(&config.key_prefix), config.redis_timeout())
    }

    fn at(url: &Secret, prefix: String, timeout: Duration) -> RedisResult<Self> {
        let scripts = Scripts {
            commit: Script::new(include_str!("ledger/commit.lua")),
            take: Script::new(include_str!("ledger/take.lua")),
            restore: Script::new(include_str!("ledger/restore.lua")),
        };
        Ok(Self { client: open(url)?, scripts: Arc::new(scripts), prefix, timeout })
    }

    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Connection { ledger: self.clone(), connection })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The channel of a coordinator, by the id of its line.
    pub(crate) fn channel(&self, line: Uuid) -> String {
        format!("{}line:{line}", self.prefix)
    }
}

impl Connection {
    pub(crate) async fn seen(&mut self) -> RedisResult<Seen> {
        type Row = (Option<String>, Option<String>, Option<u64>, Option<String>, Option<String>);
        let fields = ["epoch", "pen", "sequence", "quiet", "run"];
        let (epoch, pen, sequence, quiet, run): Row = redis::cmd("HMGET")
            .arg(self.ledger.key("book"))
            .arg(&fields)
            .query_async(&mut self.connection)
            .await?;
        Ok(Seen {
            epoch,
            pen: pen.and_then(|pen| pen.parse().ok()),
            sequence: sequence.unwrap_or(0),
            quiet: quiet.is_some_and(|quiet| quiet == "1"),
            run: run.unwrap_or_default(),
        })
    }

    pub(crate) async fn run(&mut self) -> RedisResult<Run> {
        let info: String = redis::cmd("INFO").query_async(&mut self.connection).await?;
        let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let was_replica = field("second_repl_offset:").is_some_and(|offset| offset != "-1");
        Ok(Run {
            id: field("run_id:").unwrap_or_default().to_owned(),
            keeps: field("aof_enabled:") == Some("1") && !was_replica,
        })
    }

    /// Whether the coordinator of a line hears its channel.
    pub(crate) async fn hears(&mut self, line: Uuid) -> RedisResult<bool> {
        let (_, listeners): (String, u64) = redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg(self.ledger.channel(line))
            .query_async(&mut self.connection)
            .await?;
        Ok(listeners > 0)
    }

    /// Takes the pen, if the ledger is still as it was seen; none otherwise.
    pub(crate) async fn take(
        &mut self,
        seen: &Seen,
        pen: Uuid,
        epoch: String,
        run: &str,
        quiet: bool,
    ) -> RedisResult<Option<Pen>> {
        let sequence: Option<u64> = self
            .ledger
            .scripts
            .take
            .key(&self.ledger.prefix)
            .arg(pen.to_string())
            .arg(named(seen.pen))
            .arg(seen.epoch.as_deref().unwrap_or_default())
            .arg(seen.sequence)
            .arg(&epoch)
            .arg(run)
            .arg(flag(quiet))
            .invoke_async(&mut self.connection)
            .await?;
        Ok(sequence.map(|sequence| Pen { id: pen, epoch, sequence, quiet }))
    }

    /// What is written down. Nobody else writes while the pen is ours.
    pub(crate) async fn read(&mut self) -> RedisResult<Written> {
        let leases = self.fields("lease").await?;
        let leases = leases.into_iter().filter_map(|(id, record)| Some((id.parse().ok()?, record)));
        let leases = leases.collect();
        let rates = self.fields("rate").await?;
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut self.connection).await?;
        let now = seconds * 1000 + micros / 1000;
        let holds: Vec<(String, u64)> = self.connection.hgetall(self.ledger.key("hold")).await?;
        let holds = holds.into_iter().filter(|(_, until)| *until > now);
        // Nobody is held back for longer than a server can ask for, whatever Redis's clock did.
        let pause = |until: u64| Duration::from_millis((until - now).min(3_600_000));
        Ok(Written { leases, holds: holds.map(|(key, until)| (key, pause(until))).collect(), rates })
    }

    /// All fields of a hash that may be large. One may come twice.
    async fn fields(&mut self, name: &str) -> RedisResult<Vec<(String, String)>> {
        let mut fields = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let (next, rows): (u64, Vec<(String, String)>) = redis::cmd("HSCAN")
                .arg(self.ledger.key(name))
                .arg(cursor)
                .arg("COUNT")
                .arg(1000)
                .query_async(&mut self.connection)
                .await?;
            fields.extend(rows);
            cursor = next;
            if cursor == 0 {
                return Ok(fields);
            }
        }
    }

    /// Writes a batch; false when the pen is not ours any more, or Redis does not have what was written before.
    pub(crate) async fn commit(&mut self, pen: &Pen, changes: &Changes) -> RedisResult<bool> {
        let mut call = self.ledger.scripts.commit.key(&self.ledger.prefix);
        call.arg(pen.id.to_string())
            .arg(pen.sequence)
            .arg(flag(pen.quiet))
            .arg(changes.written.len())
            .arg(changes.erased.len())
            .arg(changes.holds.len())
            .arg(changes.rates.len());
        for (id, record) in &changes.written {
            call.arg(id.to_string()).arg(record);
        }
        for id in &changes.erased {
            call.arg(id.to_string());
        }
        for (key, pause) in &changes.holds {
            call.arg(&**key).arg(whole_millis(*pause));
        }
        for (key, record) in &changes.rates {
            call.arg(&**key).arg(record);
        }
        call.invoke_async(&mut self.connection).await
    }

    /// Puts everything in the place of what Redis has, and takes a new pen for the old one, if the ledger is still as it
    /// was seen.
    pub(crate) async fn restore(
        &mut self,
        seen: &Seen,
        pen: &Pen,
        run: &str,
        whole: &Changes,
    ) -> RedisResult<Restored> {
        let leases = self.ledger.key(&format!("lease:{}", pen.id));
        let written: Vec<(String, &str)> =
            whole.written.iter().map(|(id, record)| (id.to_string(), record.as_str())).collect();
        self.stage(&leases, &written).await?;
        let rates = self.ledger.key(&format!("rate:{}", pen.id));
        let spent: Vec<(&str, &str)> =
            whole.rates.iter().map(|(key, record)| (&**key, record.as_str())).collect();
        self.stage(&rates, &spent).await?;
        let mut call = self.ledger.scripts.restore.key(&self.ledger.prefix);
        call.arg(pen.id.to_string())
            .arg(named(seen.pen))
            .arg(seen.sequence)
            .arg(&pen.epoch)
            .arg(run)
            .arg(flag(pen.quiet))
            .arg(pen.sequence)
            .arg(&leases)
            .arg(&rates);
        for (key, pause) in &whole.holds {
            call.arg(&**key).arg(whole_millis(*pause));
        }
        let found: String = call.invoke_async(&mut self.connection).await?;
        Ok(match found.as_str() {
            "done" => Restored::Done,
            "another" => Restored::AnothersPen,
            _ => Restored::Moved,
        })
    }

    /// Lays fields down under a key of their own, which a script puts in its place.
    async fn stage<F: redis::ToRedisArgs + Clone>(
        &mut self,
        key: &str,
        fields: &[(F, &str)],
    ) -> RedisResult<()> {
        for part in fields.chunks(1000) {
            let mut pipeline = redis::pipe();
            pipeline.hset_multiple(key, part).ignore().expire(key, 600).ignore();
            let () = pipeline.query_async(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Begins a ledger where there is none; false when there is one.
    async fn begin(&mut self, run: &str) -> RedisResult<bool> {
        let begin = "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end \
             redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'run', ARGV[2], 'sequence', '0') return 1";
        Script::new(begin)
            .key(self.ledger.key("book"))
            .arg(clock::new_id::<Uuid>().to_string())
            .arg(run)
            .invoke_async(&mut self.connection)
            .await
    }

    /// Puts the pen down, so that the next coordinator need not wait to see that this one is gone.
    pub(crate) async fn put_down(&mut self, pen: &Pen) -> RedisResult<()> {
        let mine =
            "if redis.call('HGET', KEYS[1], 'pen') == ARGV[1] then redis.call('HDEL', KEYS[1], 'pen') end";
        Script::new(mine)
            .key(self.ledger.key("book"))
            .arg(pen.id.to_string())
            .invoke_async(&mut self.connection)
            .await
    }
}

/// Begins the ledger of a new installation, whose first coordinator may then grant at once; false when there is one
/// already. Only for who knows that no worker of this installation can hold a connection, as the one does who has just
/// made its database: without a ledger a coordinator takes it that there was one, and grants nothing for
/// `quiet_after_loss_millis`.
pub async fn begin_ledger(
    redis_url: &Secret,
    key_prefix: &str,
    patience: Duration,
) -> Result<bool, RedisProblem> {
    let beginning = async {
        let ledger = Ledger::at(redis_url, prefix(key_prefix), patience)?;
        let mut connection = ledger.connect().await?;
        let run = connection.run().await?;
        connection.begin(&run.id).await
    };
    beginning.await.map_err(|error| RedisProblem::Away { why: kind(&error).to_owned() })
}

/// The beginning of every key, with the one hash tag.
fn prefix(key_prefix: &str) -> String {
    format!("{{{key_prefix}}}:")
}

fn named(pen: Option<Uuid>) -> String {
    pen.map(|pen| pen.to_string()).unwrap_or_default()
}

fn flag(on: bool) -> &'static str {
    if on { "1" } else { "" }
}

pub(crate) fn open(url: &Secret) -> RedisResult<redis::Client> {
    redis::Client::open(url.expose_secret())
}

pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 50)
}

/// What went wrong, for a log line.
pub(crate) fn kind(error: &RedisError) -> &str {
    error.category()
}

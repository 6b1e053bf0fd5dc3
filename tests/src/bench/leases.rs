//! Leases acquired and released through a coordinator, by workers with one stream each, over 10,000 servers and on one
//! hot server; beside the ledger's script called directly, over one connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coordinator::Config;
use model::clock;
use model::secret::Secret;
use model::workload::ServiceClass;
use redis::Script;
use redis::aio::MultiplexedConnection;
use servers::Redis;
use throttle::{AcquireRequest, Holder, Limit, Session, Shares, Throttle, quotas};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::figure::{Line, Target};
use super::house::defaults;
use super::{Measured, Trouble, rate};

/// How long each way is measured.
const TIME: Duration = Duration::from_secs(4);
/// Cycles of each worker that acquire and release without a pause: a worker has as many slots.
const CYCLES: usize = 100;
const SERVERS: usize = 10_000;
/// What one server allows at once.
const CAPACITY: u32 = 100;
/// Requests that one call of the script decides.
const BATCH: usize = 128;
const TOKEN: &str = "bench";

pub(super) async fn measure() -> Measured {
    let shares: Shares = defaults("throttle.shares")?;
    let mut lines = Vec::new();
    let script = Direct { shares, script: script()? };
    let single = script.measure(1, 400).await?;
    let batched = script.measure(BATCH, 4).await?;
    for (workers, servers) in [(1, SERVERS), (4, SERVERS), (16, SERVERS), (4, 1)] {
        let ours = through_a_coordinator(workers, servers, shares).await?;
        let where_to = if servers == 1 { "one hot server".to_owned() } else { "10,000 servers".to_owned() };
        let plural = if workers == 1 { "worker" } else { "workers" };
        let line =
            Line::new(format!("leases, {workers} {plural}, {where_to}"), ours, "acquired and released/s");
        lines.push(line.beside("the script, one request a call", single).reaching(Target::Ratio(0.8)));
        if (workers, servers) == (4, SERVERS) {
            lines.push(line.beside("the script, 128 requests a call", batched));
            lines.push(line.reaching(Target::Absolute(80_000.0, 4)));
        }
    }
    Ok(lines)
}

fn limits(server: usize, mailbox: usize, shares: &Shares) -> Vec<Limit> {
    let limit = |key: String, capacity| Limit {
        key,
        capacity,
        version: 1,
        served: shares.served(&[ServiceClass::Incoming, ServiceClass::Jobs]),
        in_doubt: Duration::from_secs(600),
        spare_for_watch: false,
    };
    // As a cycle asks: its server's endpoint, and the mailbox itself.
    vec![limit(format!("profile/{server}"), CAPACITY), limit(format!("mailbox/{server}/{mailbox}"), 1)]
}

async fn through_a_coordinator(workers: usize, servers: usize, shares: Shares) -> Result<f64, Trouble> {
    let redis = Redis::start().await;
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        token: Secret::from(TOKEN),
        tls_certificate_file: String::new(),
        tls_key_file: String::new(),
        redis_url: Secret::from(redis.url()),
        key_prefix: "bench".to_owned(),
        redis_timeout_millis: defaults("coordinator.redis_timeout_millis")?,
        lease_millis: defaults("coordinator.lease_millis")?,
        renew_millis: defaults("coordinator.renew_millis")?,
        retry_seconds: defaults("coordinator.retry_seconds")?,
        recheck_millis: defaults("coordinator.recheck_millis")?,
        quiet_after_loss_millis: defaults("coordinator.quiet_after_loss_millis")?,
        batch: BATCH,
    };
    let listener = TcpListener::bind(config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(coordinator::serve(config, listener, shutdown.clone()));

    let held: Arc<Vec<AtomicU32>> = Arc::new((0..servers).map(|_| AtomicU32::new(0)).collect());
    let mut cycles = JoinSet::new();
    let begun = Instant::now();
    for worker in 0..workers {
        let config = throttle::Config {
            urls: vec![url.clone()],
            token: Secret::from(TOKEN),
            ca_file: String::new(),
            wait_seconds: 20,
            away_snooze_seconds: 30,
            shares,
        };
        let session = Session { id: clock::new_id(), process: format!("bench {worker}") };
        let throttle = Throttle::connect(&config, session)?;
        for cycle in 0..CYCLES {
            let (throttle, held, mailbox) = (throttle.clone(), Arc::clone(&held), worker * CYCLES + cycle);
            cycles.spawn(async move {
                let mut count = 0;
                while begun.elapsed() < TIME {
                    // Another server each time, and never all workers the same one unless there is one only.
                    let server = (mailbox * 7919 + count) % servers;
                    let limits = limits(server, mailbox, &shares);
                    let class = ServiceClass::Incoming;
                    let request = AcquireRequest { class, limits, wait: None, holder: Holder::default() };
                    let lease = throttle.acquire(request).await?;
                    if held[server].fetch_add(1, Ordering::SeqCst) >= CAPACITY {
                        return Err(Trouble::from("one lease too many was given"));
                    }
                    held[server].fetch_sub(1, Ordering::SeqCst);
                    lease.release().await;
                    count += 1;
                }
                Ok(count)
            });
        }
    }
    let mut count = 0;
    while let Some(ended) = cycles.join_next().await {
        count += ended??;
    }
    let rate = rate(count, begun);
    // Everything was released, so the ledger holds nothing.
    let client = redis::Client::open(redis.url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let left: usize = redis::cmd("HLEN").arg("{bench}:lease").query_async(&mut connection).await?;
    if left != 0 {
        return Err(format!("{left} leases were not given back").into());
    }
    shutdown.cancel();
    serving.await??;
    Ok(rate)
}

/// The script as it stands in the coordinator's sources: the ledger does nothing else.
fn script() -> Result<String, Trouble> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../crates/coordinator/src/ledger/script.lua");
    Ok(std::fs::read_to_string(path)?)
}

struct Direct {
    shares: Shares,
    script: String,
}

impl Direct {
    /// Leases a second, when `callers` call the script with `batch` requests each, over one connection.
    async fn measure(&self, batch: usize, callers: usize) -> Result<f64, Trouble> {
        let redis = Redis::start().await;
        let client = redis::Client::open(redis.url())?;
        let connection = client.get_multiplexed_async_connection().await?;
        let script = Arc::new(Script::new(&self.script));
        let leases = Arc::new(AtomicUsize::new(0));
        let mut calling = JoinSet::new();
        let begun = Instant::now();
        for caller in 0..callers {
            let (connection, script, leases) = (connection.clone(), Arc::clone(&script), Arc::clone(&leases));
            let shares = self.shares;
            calling.spawn(async move {
                let mut round = 0;
                while begun.elapsed() < TIME {
                    let claims: Vec<(Uuid, Vec<Limit>)> = (0..batch)
                        .map(|at| {
                            let mailbox = caller * batch + at;
                            let server = (mailbox * 7919 + round) % SERVERS;
                            (clock::new_id(), limits(server, mailbox, &shares))
                        })
                        .collect();
                    call(&script, connection.clone(), &claims, true).await?;
                    call(&script, connection.clone(), &claims, false).await?;
                    leases.fetch_add(batch, Ordering::Relaxed);
                    round += 1;
                }
                Ok::<_, Trouble>(())
            });
        }
        while let Some(ended) = calling.join_next().await {
            ended??;
        }
        Ok(rate(leases.load(Ordering::Relaxed), begun))
    }
}

/// One call that acquires or releases all of these; every one must be answered with yes.
async fn call(
    script: &Script,
    mut connection: MultiplexedConnection,
    claims: &[(Uuid, Vec<Limit>)],
    acquire: bool,
) -> Result<(), Trouble> {
    let mut call = script.prepare_invoke();
    call.key("{bench}:")
        .arg("00000000-0000-0000-0000-000000000001")
        .arg(30_000)
        .arg(2_000)
        .arg(630_000)
        .arg("");
    for (id, limits) in claims {
        if acquire {
            call.arg("a")
                .arg(id.to_string())
                .arg(id.to_string())
                .arg(0)
                .arg(1)
                .arg(20_000)
                .arg("")
                .arg(600_000);
            call.arg(limits.len());
            for limit in limits {
                call.arg(&limit.key).arg(limit.version).arg(configuration(limit));
            }
        } else {
            call.arg("r").arg(id.to_string()).arg("");
        }
    }
    let (_, verdicts, _): (String, Vec<String>, Vec<String>) = call.invoke_async(&mut connection).await?;
    let expected = if acquire { "granted" } else { "freed" };
    if verdicts.len() != claims.len() || verdicts.iter().any(|verdict| verdict != expected) {
        return Err(format!("the script said {:?}", verdicts.first()).into());
    }
    Ok(())
}

/// A limit as the script reads it.
fn configuration(limit: &Limit) -> String {
    let quotas = quotas(limit.capacity, &limit.served);
    let words = quotas.iter().map(|quota| {
        let class = ServiceClass::ALL.iter().position(|class| *class == quota.class).unwrap_or(0) + 1;
        format!(" {class}:{}:{}", quota.minimum, quota.ceiling)
    });
    format!("{} {}{}", limit.capacity, u8::from(limit.spare_for_watch), words.collect::<String>())
}

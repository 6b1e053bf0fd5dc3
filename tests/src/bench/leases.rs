//! Leases acquired and released through a coordinator, by workers with one stream each, over 10,000 servers and on one
//! hot server; beside a script in Redis that does the same alone, and beside calls that decide nothing.

mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use coordinator::Config;
use model::clock;
use model::secret::Secret;
use model::workload::ServiceClass;
use servers::Redis;
use throttle::{AcquireRequest, Holder, Limit, Session, Shares, Throttle};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::figure::{Line, Target};
use super::house::defaults;
use super::{Measured, Trouble, rate};

/// How long each way is measured.
const TIME: Duration = Duration::from_secs(4);
/// Cycles that acquire and release without a pause, over all workers.
const CYCLES: usize = 1_600;
const SERVERS: usize = 10_000;
/// What one server allows at once.
const CAPACITY: u32 = 100;
const TOKEN: &str = "bench";
/// How many leases a second are asked for to see how long one takes.
const PACED: u32 = 5_000;

pub(super) async fn measure() -> Measured {
    let shares: Shares = defaults("throttle.shares")?;
    let mut lines = Vec::new();
    let script = peers::script().await?;
    let unary = peers::unary().await?;
    for (workers, servers) in [(1, SERVERS), (4, SERVERS), (16, SERVERS), (4, 1)] {
        let house = House::start(workers, shares).await?;
        let ours = house.flat_out(servers).await?;
        house.end().await?;
        let where_to = if servers == 1 { "one hot server".to_owned() } else { "10,000 servers".to_owned() };
        let plural = if workers == 1 { "worker" } else { "workers" };
        let line =
            Line::new(format!("leases, {workers} {plural}, {where_to}"), ours, "acquired and released/s");
        lines.push(line.beside("a Lua script by redis-benchmark", script).reaching(Target::Ratio(0.8)));
        if (workers, servers) == (4, SERVERS) {
            lines.push(line.beside("unary tonic that decides nothing", unary));
            lines.push(line.reaching(Target::Absolute(80_000.0, 4)));
        }
    }
    let house = House::start(4, shares).await?;
    let (half, nearly_all) = house.paced().await?;
    house.end().await?;
    let line = Line::new("– a free lease, asked to granted, 5,000/s, median", half, "ms");
    lines.push(line);
    let line = Line::new("– a free lease, asked to granted, 5,000/s, 99 of 100", nearly_all, "ms");
    lines.push(line.reaching(Target::AtMost(5.0, "ms")));
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

/// A ledger, its coordinator and workers.
struct House {
    redis: Redis,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), coordinator::Error>>,
    workers: Vec<Throttle>,
    shares: Shares,
}

/// What a coordinator of this benchmark is told; its ledger is a new one.
pub(super) async fn config(redis: &Redis) -> Result<Config, Trouble> {
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
        beat_millis: defaults("coordinator.beat_millis")?,
        quiet_after_loss_millis: defaults("coordinator.quiet_after_loss_millis")?,
        batch: defaults("coordinator.batch")?,
    };
    coordinator::begin_ledger(&config.redis_url, &config.key_prefix, Duration::from_secs(5)).await?;
    Ok(config)
}

impl House {
    async fn start(workers: usize, shares: Shares) -> Result<Self, Trouble> {
        let redis = Redis::start().await;
        let config = config(&redis).await?;
        let listener = TcpListener::bind(config.listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(coordinator::serve(config, listener, shutdown.clone()));
        let worker = |number: usize| {
            let config = throttle::Config {
                urls: vec![url.clone()],
                token: Secret::from(TOKEN),
                ca_file: String::new(),
                wait_seconds: 20,
                away_snooze_seconds: 30,
                shares,
            };
            let session = Session { id: clock::new_id(), process: format!("bench {number}") };
            Throttle::connect(&config, session)
        };
        let workers = (0..workers).map(worker).collect::<Result<Vec<_>, _>>()?;
        let house = Self { redis, shutdown, serving, workers, shares };
        // Everybody is connected before anything is measured.
        for throttle in &house.workers {
            throttle.acquire(house.request(0, 0)).await?.release().await;
        }
        Ok(house)
    }

    fn request(&self, server: usize, mailbox: usize) -> AcquireRequest {
        let limits = limits(server, mailbox, &self.shares);
        AcquireRequest { class: ServiceClass::Incoming, limits, wait: None, holder: Holder::default() }
    }

    /// Leases a second when every cycle asks for the next as soon as it gave the last one back.
    async fn flat_out(&self, servers: usize) -> Result<f64, Trouble> {
        let held: Arc<Vec<AtomicU32>> = Arc::new((0..servers).map(|_| AtomicU32::new(0)).collect());
        let mut cycles = JoinSet::new();
        let begun = Instant::now();
        for mailbox in 0..CYCLES {
            let throttle = self.workers[mailbox % self.workers.len()].clone();
            let (held, shares) = (Arc::clone(&held), self.shares);
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
        let mut count = 0;
        while let Some(ended) = cycles.join_next().await {
            count += ended??;
        }
        Ok(rate(count, begun))
    }

    /// How many milliseconds half and 99 of 100 requests for a free lease took at most, at a pace far below the most.
    async fn paced(&self) -> Result<(f64, f64), Trouble> {
        let mut cycles = JoinSet::new();
        let begun = tokio::time::Instant::now();
        let count = PACED * u32::try_from(TIME.as_secs())?;
        for number in 0..count {
            tokio::time::sleep_until(begun + Duration::from_secs(1) * number / PACED).await;
            let mailbox = number as usize;
            let throttle = self.workers[mailbox % self.workers.len()].clone();
            let request = self.request(mailbox % SERVERS, mailbox);
            cycles.spawn(async move {
                let asked = Instant::now();
                let lease = throttle.acquire(request).await?;
                let took = asked.elapsed();
                lease.release().await;
                Ok::<_, Trouble>(took)
            });
        }
        let mut took = Vec::with_capacity(count as usize);
        while let Some(ended) = cycles.join_next().await {
            took.push(ended??.as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        Ok((took[took.len() / 2], took[took.len() * 99 / 100]))
    }

    /// Everything was released, so the ledger holds nothing.
    async fn end(self) -> Result<(), Trouble> {
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let left: usize = redis::cmd("HLEN").arg("{bench}:lease").query_async(&mut connection).await?;
        if left != 0 {
            return Err(format!("{left} leases were not given back").into());
        }
        self.shutdown.cancel();
        self.serving.await??;
        Ok(())
    }
}

//! The whole ring with cycles that have nothing to do: the scheduler queues and publishes, a worker claims, acks, gets a lease
//! through a coordinator, gives it back and finishes, and the row is due again at once. Beside what the same broker does
//! alone, and beside job engines with jobs that do nothing.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker::{
    Claimed, Consumer, CycleInvitation, Delivery, Handler, Intake, Invitation, Publication, Publisher, Queue,
};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use model::cadence::{DueReason, Next, Outcome};
use model::clock;
use model::id::SessionId;
use model::secret::Secret;
use model::workload::{ServiceClass, Workload};
use servers::Redis;
use store::Store;
use store::schedule::{self, Claim, End};
use throttle::{AcquireRequest, Holder, Limit, Session, Shares, Throttle};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::figure::{Line, Target};
use super::house::defaults;
use super::python::Engine;
use super::schedules::{Rows, Schedules};
use super::{Measured, Trouble, rate, say};

const TIME: Duration = Duration::from_secs(15);
const MAILBOXES: u64 = 20_000;
/// Cycles that the worker runs at once.
const SLOTS: u16 = 400;
/// Messages that the broker carries alone, and jobs that each engine runs.
const ALONE: usize = 200_000;
const JOBS: u32 = 30_000;
const TOKEN: &str = "bench";

pub(super) async fn measure() -> Measured {
    let (ours, url_of) = ring().await?;
    let alone = alone(&url_of).await?;
    drop(url_of);
    // Said at once: the engines take minutes, and one that fails takes the figure with it.
    say(&format!("ring: {ours:.0} cycles/s, the broker alone {alone:.0} messages/s"));
    let line = Line::new("the ring with empty cycles, from due to due again", ours, "cycles/s");
    let mut lines =
        vec![line.beside("the same broker, publish and consume alone", alone).reaching(Target::Ratio(0.4))];
    for engine in [Engine::Dramatiq, Engine::Celery] {
        lines.push(line.beside(engine.name(), engine.measure(JOBS).await?).reaching(Target::Ratio(1.0)));
    }
    Ok(lines)
}

/// Cycles a second, and what the broker is then measured alone on.
async fn ring() -> Result<(f64, Schedules), Trouble> {
    let rows = Rows {
        mailboxes: MAILBOXES,
        workloads: &[Workload::Incoming],
        due: "now() - chance * interval '1 s'",
    };
    let house = Schedules::build(&rows).await?;
    let session = house.session().await?;
    let redis = Redis::start().await;
    let shutdown = CancellationToken::new();
    let shares: Shares = defaults("throttle.shares")?;
    let coordinator_shutdown = CancellationToken::new();
    let (coordinating, url) = coordinator(&redis, &coordinator_shutdown).await?;
    let config = throttle::Config {
        urls: vec![url],
        token: Secret::from(TOKEN),
        ca_file: String::new(),
        wait_seconds: 20,
        away_snooze_seconds: 30,
        shares,
    };
    let throttle = Throttle::connect(&config, Session { id: clock::new_id(), process: "bench".to_owned() })?;
    let running = house.start()?;
    let worker = Arc::new(Worker {
        store: house.store.clone(),
        session,
        throttle,
        shares,
        finished: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let consumer = Consumer::new(&house.broker, "bench")?;
    let intake = Intake {
        queue: Queue::Incoming,
        slots: Arc::new(Semaphore::new(SLOTS.into())),
        bound: None,
        prefetch: NonZeroU16::new(SLOTS).ok_or("no slots")?,
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
    };
    let tasks = intake.tasks.clone();
    let consuming = tokio::spawn({
        let worker = Arc::clone(&worker);
        async move { consumer.consume(intake, worker).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (begun, before) = (Instant::now(), worker.finished.load(Ordering::SeqCst));
    tokio::time::sleep(TIME).await;
    let ours = rate(worker.finished.load(Ordering::SeqCst) - before, begun);
    running.stop().await?;
    shutdown.cancel();
    consuming.await?;
    tasks.close();
    tasks.wait().await;
    // After the last cycle: a lease that nobody can give is no cycle.
    coordinator_shutdown.cancel();
    coordinating.await??;
    let (finished, refused) = (worker.finished.load(Ordering::SeqCst), worker.refused.load(Ordering::SeqCst));
    // Each cycle raised its row's claim once; what is still queued was raised and not finished.
    let row = house
        .database
        .owner()
        .await?
        .query_one("select sum(claim)::bigint, count(*) filter (where flying) from schedules", &[])
        .await?;
    let [raised, flying] = [usize::try_from(row.get::<_, i64>(0))?, usize::try_from(row.get::<_, i64>(1))?];
    if refused > 0 || raised != finished + flying || finished == 0 {
        return Err(
            format!("{finished} finished, {flying} under way, {raised} queued, {refused} refused").into()
        );
    }
    Ok((ours, house))
}

async fn coordinator(
    redis: &Redis,
    shutdown: &CancellationToken,
) -> Result<(tokio::task::JoinHandle<Result<(), coordinator::Error>>, String), Trouble> {
    let config = super::leases::config(redis).await?;
    let listener = TcpListener::bind(config.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((tokio::spawn(coordinator::serve(config, listener, shutdown.clone())), url))
}

struct Worker {
    store: Store,
    session: SessionId,
    throttle: Throttle,
    shares: Shares,
    finished: AtomicUsize,
    /// Messages whose claim was refused: there should be none.
    refused: AtomicUsize,
}

impl Handler for Worker {
    async fn handle(&self, delivery: Delivery) -> Claimed {
        let Invitation::Cycle(invitation) = delivery.invitation else { return Claimed::Asked };
        let done = self.cycle(&delivery, &invitation).await;
        let count = if matches!(done, Ok(true)) { &self.finished } else { &self.refused };
        count.fetch_add(1, Ordering::SeqCst);
        Claimed::Asked
    }

    async fn can_ask(&self) -> bool {
        true
    }
}

impl Worker {
    /// What a worker does with a delivery, without a mail server.
    async fn cycle(&self, delivery: &Delivery, invitation: &CycleInvitation) -> Result<bool, Trouble> {
        let claim =
            Claim { mailbox: invitation.mailbox, workload: invitation.workload, number: invitation.claim };
        let organization = invitation.organization;
        let claimed = schedule::claim_together(&self.store, organization, claim, self.session).await?;
        delivery.ack().await;
        let Some(claimed) = claimed else { return Ok(false) };
        let limit = |key: String, capacity| Limit {
            key,
            capacity,
            version: 1,
            served: self.shares.served(&[ServiceClass::Incoming, ServiceClass::Jobs]),
            in_doubt: Duration::from_secs(600),
            spare_for_watch: false,
        };
        let limits = vec![
            limit(format!("profile/{}", claimed.profile), 1000),
            limit(format!("mailbox/{}", invitation.mailbox), 1),
        ];
        let request =
            AcquireRequest { class: ServiceClass::Incoming, limits, wait: None, holder: Holder::default() };
        self.throttle.acquire(request).await?.release().await;
        let next = Next {
            delay: Some(Duration::ZERO),
            reason: DueReason::Cadence,
            not_before: None,
            held_by: None,
            quiet_cycles: 1,
            failures: 0,
            refusals: 0,
            switch_off: None,
        };
        let outcome = Outcome::Done { items: 0, cut_off: false };
        // Of a server that answered, as after a poll that found nothing.
        let sound = Some("pop3://pop.bench.example:995".to_owned());
        let end = End { organization, claim, session: self.session, outcome, next, sound };
        Ok(schedule::finish_together(&self.store, end).await?)
    }
}

/// Messages a second, published with pipelined confirms and consumed at the same time, each acknowledged.
async fn alone(house: &Schedules) -> Result<f64, Trouble> {
    let connection = Connection::connect(&house.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_purge(Queue::Incoming.as_str().into(), lapin::options::QueuePurgeOptions::default())
        .await?;
    channel.basic_qos(SLOTS, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let queue = Queue::Incoming.as_str();
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    let publisher = Publisher::new(&house.broker, "bench")?;
    publisher.ready().await?;
    let organization = clock::new_id();
    let batch: Vec<_> = (0..ALONE)
        .map(|_| Publication {
            invitation: Invitation::Cycle(CycleInvitation {
                organization,
                mailbox: clock::new_id(),
                workload: Workload::Incoming,
                claim: 1,
            }),
            trace: None,
        })
        .collect();
    let begun = Instant::now();
    let consuming = tokio::spawn(async move {
        for _ in 0..ALONE {
            let Some(delivery) = consumer.next().await else { return Err(Trouble::from("no more messages")) };
            delivery?.acker.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    });
    publisher.publish_batch(&batch).await;
    tokio::time::timeout(Duration::from_secs(120), consuming).await???;
    Ok(rate(ALONE, begun))
}

//! From due to confirmed by the broker: the scheduler as it is, with three million workloads due and nobody who consumes. Beside
//! lapin alone, which publishes the same messages to the same queues, and celery's beat with a thirtieth of the entries.

use std::time::{Duration, Instant};

use broker::Queue;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use model::workload::Workload;

use super::figure::{Line, Target};
use super::house::twice;
use super::python::Beat;
use super::schedules::{Rows, Schedules};
use super::{Measured, Trouble, amount};

/// How long claiming and publishing may go on.
const TIME: Duration = Duration::from_secs(20);
/// Entries that celery's beat has.
const ENTRIES: u32 = 100_000;

pub(super) async fn measure() -> Measured {
    let workloads = amount(3_000_000);
    let rows = Rows {
        mailboxes: workloads / 3,
        workloads: Workload::ALL,
        due: "now() - chance * interval '5 minutes'",
    };
    let house = Schedules::build(&rows).await?;
    house.session().await?;
    let url = house.url();

    let begun = Instant::now();
    let running = house.start()?;
    let owner = house.database.owner().await?;
    while begun.elapsed() < TIME {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = "select exists (select from schedules where workload = any($1) and not flying and ready_at <= now())";
        let workloads: Vec<_> = Workload::ALL.iter().map(|workload| workload.as_str()).collect();
        if !owner.query_one(left, &[&workloads]).await?.get::<_, bool>(0) {
            break;
        }
    }
    running.stop().await?;
    let elapsed = begun.elapsed();

    let row = house
        .database
        .owner()
        .await?
        .query_one("select count(*) from schedules where flying and state = 'queued' and claim = 1", &[])
        .await?;
    let queued = usize::try_from(row.get::<_, i64>(0))?;
    let drained =
        try_join_all(Workload::ALL.iter().map(|workload| Drained::all(&url, Queue::of(*workload), queued)))
            .await?;
    let found: usize = drained.iter().map(|drained| drained.bodies.len()).sum();
    let doubled = twice(drained.iter().flat_map(|drained| &drained.bodies));
    if found != queued || queued == 0 || doubled > 0 {
        return Err(format!("{queued} queued, {found} delivered, {doubled} twice").into());
    }
    let window = usize::try_from(house.broker.publish_window.get())?;
    let begun = Instant::now();
    try_join_all(drained.iter().map(|drained| drained.publish_alone(window))).await?;
    let alone = per_second(queued, begun.elapsed());
    for drained in &drained {
        drained.purge().await?;
    }
    drop((drained, house));

    let line = Line::new(
        format!("due cycles, claimed and confirmed, {workloads} workloads"),
        per_second(queued, elapsed),
        "cycles/s",
    );
    let mut lines = vec![
        line.clone().reaching(Target::Absolute(20_000.0, 4)),
        line.beside("lapin alone, the same messages", alone).reaching(Target::Ratio(0.5)),
    ];
    let beat = Beat::measure(ENTRIES).await?;
    lines.push(line.beside("celery beat, 100,000 entries", beat).reaching(Target::Ratio(2_000.0)));
    Ok(lines)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The messages of a queue as they came out of it.
struct Drained {
    queue: Queue,
    channel: Channel,
    properties: BasicProperties,
    bodies: Vec<Vec<u8>>,
}

impl Drained {
    /// Takes everything out of the queue, also what should not be there.
    async fn all(url: &str, queue: Queue, expected: usize) -> Result<Self, Trouble> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let name = queue.as_str();
        let mut consumer =
            channel.basic_consume(name.into(), "bench".into(), options, FieldTable::default()).await?;
        let (mut bodies, mut properties) = (Vec::with_capacity(expected / 3), BasicProperties::default());
        // What is there comes at once; a moment of silence is the end.
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_secs(3), consumer.next()).await {
            let delivery = delivery?;
            properties = delivery.properties;
            bodies.push(delivery.data);
        }
        channel.basic_cancel("bench".into(), lapin::options::BasicCancelOptions::default()).await?;
        Ok(Self { queue, channel, properties, bodies })
    }

    /// Publishes them again, with pipelined confirms and nothing else.
    async fn publish_alone(&self, window: usize) -> Result<(), Trouble> {
        let channel = &self.channel;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut waiting = self.bodies.iter();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < window
                && let Some(body) = waiting.next()
            {
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let properties = self.properties.clone();
                under_way.push(async move {
                    let queue = self.queue.as_str();
                    channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await
                });
            }
            let Some(confirmation) = under_way.next().await else { return Ok(()) };
            if !matches!(confirmation?, Confirmation::Ack(None)) {
                return Err("lapin alone was not confirmed".into());
            }
        }
    }

    async fn purge(&self) -> Result<(), Trouble> {
        self.channel.queue_purge(self.queue.as_str().into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }
}

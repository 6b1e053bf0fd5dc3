//! How late a cycle is: from due to received by a consumer, at ten thousand due a second with outcomes written back as fast.

use std::time::{Duration, Instant};

use broker::{Invitation, Queue};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use model::workload::Workload;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use uuid::Uuid;

use super::figure::{Line, Target};
use super::schedules::{Rows, Schedules};
use super::{Measured, Trouble, amount};

/// Each row is due once in this time.
const PERIOD_SECONDS: u64 = 60;
const PER_SECOND: u64 = 10_000;
/// Before it is looked at: connections, first plans, the first rows in memory.
const WARM_UP: Duration = Duration::from_secs(15);
/// Outcomes are written back this often.
const WRITE_EVERY: Duration = Duration::from_millis(50);
const ACKED_AT_ONCE: u32 = 100;
/// Connections that outcomes are written over: one alone is busy with fewer than are due.
const WRITERS: usize = 3;

pub(super) async fn measure() -> Measured {
    // Seconds; less says whether it works, not whether it grows.
    let time = Duration::from_secs(amount(600));
    let workloads = Workload::ALL;
    let mailboxes = PERIOD_SECONDS * PER_SECOND / u64::try_from(workloads.len())?;
    // The first are due when the seeding is done, and that is waited for: what was late from the start would be late for long.
    let due = format!("now() + interval '120 s' + chance * interval '{PERIOD_SECONDS} s'");
    let house = Schedules::build(&Rows { mailboxes, workloads, due: &due }).await?;
    house.session().await?;
    let owner = house.database.owner().await?;
    let (heard, received) = mpsc::channel(64 * 1024);
    let connection = Connection::connect(&house.url(), ConnectionProperties::default()).await?;
    let running = house.start()?;
    // The scheduler declares the queues.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for workload in workloads {
        tokio::spawn(listen(&connection, *workload, heard.clone()).await?);
    }
    drop(heard);
    let first = owner
        .query_one("select greatest(extract(epoch from min(due_at) - now()), 0)::float8 from schedules", &[])
        .await?;
    tokio::time::sleep(Duration::from_secs_f64(first.get(0))).await;
    let mut writers = vec![owner];
    while writers.len() < WRITERS {
        writers.push(house.database.owner().await?);
    }
    let mut outcomes = Outcomes { writers, received, lateness: Vec::new(), missed: 0 };
    outcomes.write(WARM_UP).await?;
    outcomes.lateness.clear();
    let first = outcomes.half(time / 2).await?;
    let second = outcomes.half(time / 2).await?;
    running.stop().await?;
    if outcomes.missed > 0 {
        return Err(format!("{} messages came twice or for nothing", outcomes.missed).into());
    }
    if first.lateness.is_empty() || second.lateness.is_empty() {
        return Err("nothing was received".into());
    }
    let all: Vec<f64> = first.lateness.iter().chain(&second.lateness).copied().collect();
    let rate = super::per_second(all.len(), time);
    let what = format!("{PER_SECOND} due a second for {} s, due to received", time.as_secs());
    Ok(vec![
        Line::new(format!("{what}: half of them"), at(&all, 0.5), "ms").reaching(Target::AtMost(250.0, "ms")),
        Line::new(format!("{what}: 99 of 100"), at(&all, 0.99), "ms").reaching(Target::AtMost(1000.0, "ms")),
        Line::new("– 99 of 100, second half", at(&second.lateness, 0.99), "ms")
            .beside("first half", at(&first.lateness, 0.99)),
        Line::new("– received and written back", rate, "cycles/s"),
        Line::new("– table and indexes, second half", second.megabytes, "MB")
            .beside("first half", first.megabytes),
    ])
}

struct Half {
    /// Sorted, in milliseconds.
    lateness: Vec<f64>,
    megabytes: f64,
}

/// The value that this part of them does not exceed.
fn at(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::INFINITY)
}

struct Received {
    organization: Uuid,
    mailbox: Uuid,
    workload: Workload,
    claim: i64,
    when: Instant,
}

async fn listen(
    connection: &Connection,
    workload: Workload,
    heard: mpsc::Sender<Received>,
) -> Result<impl Future<Output = ()> + Send + 'static, Trouble> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(5000, BasicQosOptions::default()).await?;
    let queue = Queue::of(workload);
    let mut consumer = channel
        .basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(async move {
        // A channel that nobody keeps is closed.
        let _open = channel;
        let mut since_ack = 0;
        while let Some(Ok(delivery)) = consumer.next().await {
            let when = Instant::now();
            let content_type =
                delivery.properties.content_type().as_ref().map(lapin::types::ShortString::as_str);
            let Ok(Invitation::Cycle(cycle)) = Invitation::decode(queue, content_type, &delivery.data) else {
                return;
            };
            since_ack += 1;
            // Far fewer than the broker may send ahead, so that what is left over stops nothing.
            if since_ack == ACKED_AT_ONCE {
                since_ack = 0;
                if delivery.acker.ack(BasicAckOptions { multiple: true }).await.is_err() {
                    return;
                }
            }
            let received = Received {
                organization: cycle.organization.0,
                mailbox: cycle.mailbox.0,
                workload,
                claim: cycle.claim,
                when,
            };
            if heard.send(received).await.is_err() {
                return;
            }
        }
    })
}

struct Outcomes {
    writers: Vec<Client>,
    received: mpsc::Receiver<Received>,
    lateness: Vec<f64>,
    /// Messages whose row was not queued under their claim.
    missed: usize,
}

impl Outcomes {
    async fn half(&mut self, time: Duration) -> Result<Half, Trouble> {
        self.write(time).await?;
        let row = self.writers[0]
            .query_one("select pg_total_relation_size('schedules')::float8 / 1e6", &[])
            .await?;
        Ok(Half { lateness: std::mem::take(&mut self.lateness), megabytes: row.get(0) })
    }

    /// Writes outcomes for so long. What each row was due at is what the claim left there.
    async fn write(&mut self, time: Duration) -> Result<(), Trouble> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            tokio::time::sleep(WRITE_EVERY).await;
            let mut some = Vec::new();
            while let Ok(received) = self.received.try_recv() {
                some.push(received);
            }
            if some.is_empty() {
                continue;
            }
            let share = some.len().div_ceil(self.writers.len());
            let written =
                self.writers.iter().zip(some.chunks(share)).map(|(writer, share)| finish(writer, share));
            let lateness = try_join_all(written).await?.concat();
            self.missed += some.len() - lateness.len();
            self.lateness.extend(lateness);
        }
        Ok(())
    }
}

/// Writes outcomes in one statement, and says how late each row was that was queued under its claim.
async fn finish(writer: &Client, received: &[Received]) -> Result<Vec<f64>, Trouble> {
    let now = Instant::now();
    let column = |value: fn(&Received) -> Uuid| received.iter().map(value).collect::<Vec<_>>();
    let (organizations, mailboxes) = (column(|one| one.organization), column(|one| one.mailbox));
    let workloads: Vec<_> = received.iter().map(|one| one.workload.as_str()).collect();
    let claims: Vec<_> = received.iter().map(|one| one.claim).collect();
    let ages: Vec<_> = received.iter().map(|one| (now - one.when).as_secs_f64()).collect();
    let rows = writer
        .query(
            "update schedules s
             set state = 'idle', since = clock_timestamp(), last_outcome = 'done', last_items = 0,
                 last_finished_at = clock_timestamp(), due_at = s.due_at + make_interval(secs => $6::float8)
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::float8[])
                  as u(organization, mailbox, workload, claim, age)
             where s.organization_id = u.organization and s.mailbox_id = u.mailbox
               and s.workload = u.workload and s.claim = u.claim and s.state = 'queued'
             returning 1000 * (extract(epoch from now() - s.due_at)::float8 + $6::float8 - u.age)",
            &[&organizations, &mailboxes, &workloads, &claims, &ages, &seconds(PERIOD_SECONDS)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn seconds(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}

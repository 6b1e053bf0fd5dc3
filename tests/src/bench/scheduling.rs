//! From due to confirmed by the broker, as the scheduler does it: claim a batch in one transaction, then publish it.
//! Beside lapin alone, which publishes the same messages to the same queue.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, Instant};

use broker::{CycleInvitation, Invitation, Publication, Published, Publisher, Queue};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use model::window::share_cap;
use model::workload::Workload;
use servers::{Postgres, RabbitMq};
use store::schedule::{self, Scan};
use store::session;

use super::figure::{Line, Target};
use super::house::{database, defaults, twice};
use super::{Measured, Trouble, rate};

const WORKLOADS: usize = 300_000;
/// How long claiming and publishing may go on.
const TIME: Duration = Duration::from_secs(40);
const VHOST: &str = "bench";

/// 1,000 profiles of 300 mailboxes in ten organizations; everything is due.
const SEED: &str = "
    insert into organizations (id, name) select gen_random_uuid(), 'bench ' || n from generate_series(1, 10) n;
    insert into profiles (organization_id, id, name, kind, incoming_host, incoming_port, incoming_tls, outgoing_host,
                          outgoing_port, outgoing_tls, credentials_on, max_in_flight)
    select o.id, gen_random_uuid(), 'profile ' || n, 'pop3_smtp', 'pop.bench.example', 995, 'implicit',
           'smtp.bench.example', 465, 'implicit', 'mailbox', 1000
    from organizations o, generate_series(1, 100) n;
    insert into mailboxes (organization_id, id, name, address, profile_id, incoming_endpoint, incoming_login, acceptance)
    select p.organization_id, gen_random_uuid(), 'mailbox ' || n, n || '@' || p.id || '.example', p.id,
           'pop3://pop.bench.example:995', n || '@' || p.id, 'all'
    from profiles p, generate_series(1, 300) n;
    insert into schedules (organization_id, mailbox_id, workload, profile_id, due_at, due_reason)
    select organization_id, id, 'incoming', profile_id, now() - random() * interval '5 minutes', 'cadence'
    from mailboxes order by random();
    analyze;
    checkpoint;
";

pub(super) async fn measure() -> Measured {
    let (postgres, rabbitmq) = (Postgres::durable().await, RabbitMq::start().await);
    let (database, store) = database(&postgres).await?;
    database.owner().await?.batch_execute(SEED).await?;
    rabbitmq.create_vhost(VHOST).await;
    let config = broker::Config {
        url: rabbitmq.amqp_uri(VHOST).into(),
        ca_file: String::new(),
        publish_window: NonZeroU32::try_from(defaults::<u32>("broker.publish_window")?)?,
        message_ttl_seconds: NonZeroU32::try_from(defaults::<u32>("broker.message_ttl_seconds")?)?,
        confirm_timeout_seconds: NonZeroU32::try_from(defaults::<u32>("broker.confirm_timeout_seconds")?)?,
        heartbeat_seconds: NonZeroU16::try_from(defaults::<u16>("broker.heartbeat_seconds")?)?,
    };
    let publisher = Publisher::new(&config, "bench")?;
    publisher.ready().await?;
    // So many workers that no profile's window is smaller than what it has due: the ring is measured, not the windows.
    let slots = 100_000;
    store.in_ring(async |ring| session::start(ring, "bench", slots, Duration::from_secs(3600)).await).await?;
    let (batch, percent) = (defaults("scheduler.batch")?, defaults("scheduler.profile_share_percent")?);

    let (begun, mut confirmed, mut claiming) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < TIME {
        let asked = Instant::now();
        let queued = store
            .in_ring(async |ring| {
                let live = session::live(ring).await?;
                let share_cap = share_cap(live.slots, percent);
                let since_last = Duration::from_secs(1);
                let scan = Scan { workload: Workload::Incoming, batch, share_cap, since_last };
                schedule::claim_due(ring, &scan).await
            })
            .await?;
        claiming += asked.elapsed();
        if queued.is_empty() {
            break;
        }
        let batch: Vec<Publication> = queued
            .iter()
            .map(|cycle| Publication {
                invitation: Invitation::Cycle(CycleInvitation {
                    organization: cycle.place.organization,
                    mailbox: cycle.place.claim.mailbox,
                    workload: Workload::Incoming,
                    claim: cycle.place.claim.number,
                }),
                trace: None,
            })
            .collect();
        let outcomes = publisher.publish_batch(&batch).await;
        if outcomes.iter().any(|outcome| *outcome != Published::Confirmed) {
            return Err("the broker did not confirm everything".into());
        }
        confirmed += outcomes.len();
    }
    let ours = rate(confirmed, begun);
    let elapsed = begun.elapsed();

    let row = database
        .owner()
        .await?
        .query_one("select count(*) from schedules where state = 'queued' and claim = 1", &[])
        .await?;
    let queued: i64 = row.get(0);
    let bodies = Drained::all(&rabbitmq.amqp_uri(VHOST), confirmed).await?;
    let doubled = twice(bodies.bodies.iter());
    if usize::try_from(queued) != Ok(confirmed) || bodies.bodies.len() != confirmed || doubled > 0 {
        let found = bodies.bodies.len();
        return Err(
            format!("{queued} queued, {confirmed} confirmed, {found} delivered, {doubled} twice").into()
        );
    }
    let ceiling = bodies.publish_alone(usize::try_from(config.publish_window.get())?).await?;

    let line = Line::new(
        format!("due cycles, claimed and confirmed, {} of 300,000", words(confirmed)),
        ours,
        "cycles/s",
    );
    let share = 100.0 * claiming.as_secs_f64() / elapsed.as_secs_f64();
    Ok(vec![
        line.clone().reaching(Target::Absolute(20_000.0, 4)),
        line.beside("lapin alone, the same messages", ceiling).reaching(Target::Ratio(0.5)),
        Line::new("– of that time in the claim", share, "%"),
    ])
}

fn words(published: usize) -> String {
    if published == WORKLOADS { "all".to_owned() } else { published.to_string() }
}

/// The messages as they came out of the queue.
struct Drained {
    channel: Channel,
    properties: BasicProperties,
    bodies: Vec<Vec<u8>>,
}

impl Drained {
    /// Takes everything out of the queue: as many as were published, and whatever should not be there.
    async fn all(url: &str, expected: usize) -> Result<Self, Trouble> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let queue = Queue::Incoming.as_str();
        let mut consumer =
            channel.basic_consume(queue.into(), "bench".into(), options, FieldTable::default()).await?;
        let (mut bodies, mut properties) = (Vec::with_capacity(expected), BasicProperties::default());
        // What is there comes at once; a moment of silence is the end.
        while let Ok(Some(delivery)) = tokio::time::timeout(Duration::from_secs(2), consumer.next()).await {
            let delivery = delivery?;
            properties = delivery.properties;
            bodies.push(delivery.data);
        }
        channel.basic_cancel("bench".into(), lapin::options::BasicCancelOptions::default()).await?;
        Ok(Self { channel, properties, bodies })
    }

    /// Publishes them again, with pipelined confirms and nothing else. Messages a second.
    async fn publish_alone(&self, window: usize) -> Result<f64, Trouble> {
        let channel = &self.channel;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let begun = Instant::now();
        let mut waiting = self.bodies.iter();
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < window
                && let Some(body) = waiting.next()
            {
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let properties = self.properties.clone();
                under_way.push(async move {
                    let queue = Queue::Incoming.as_str();
                    channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await
                });
            }
            let Some(confirmation) = under_way.next().await else { break };
            if !matches!(confirmation?, Confirmation::Ack(None)) {
                return Err("lapin alone was not confirmed".into());
            }
        }
        let rate = rate(self.bodies.len(), begun);
        channel.queue_purge(Queue::Incoming.as_str().into(), QueuePurgeOptions::default()).await?;
        Ok(rate)
    }
}

//! What the figures of the ring share: schedule rows by the million, a broker, and the scheduler as it runs in production. The
//! rows stand without their mailboxes, which no scan reads.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use model::id::SessionId;
use model::workload::Workload;
use servers::{Postgres, RabbitMq};
use store::testing::TestDatabase;
use store::{Store, session};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Trouble;
use super::house::{database, defaults};

const VHOST: &str = "bench";

pub(super) struct Schedules {
    pub(super) database: TestDatabase,
    pub(super) store: Store,
    pub(super) broker: broker::Config,
    pub(super) rabbitmq: RabbitMq,
    pub(super) postgres: Postgres,
}

/// What is seeded.
pub(super) struct Rows<'a> {
    pub(super) mailboxes: u64,
    pub(super) workloads: &'a [Workload],
    /// When a row is due, in SQL, from a random `chance` between 0 and 1 of its own.
    pub(super) due: &'a str,
}

/// A scheduler at work.
pub(super) struct Running {
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), scheduler::Error>>,
}

impl Schedules {
    /// A hundred mailboxes a profile and a hundred profiles an organization, in no order on the disk.
    pub(super) async fn build(rows: &Rows<'_>) -> Result<Self, Trouble> {
        let (postgres, rabbitmq) = (Postgres::sized().await, RabbitMq::start().await);
        let (database, store) = database(&postgres).await?;
        let profiles = (rows.mailboxes / 100).max(1);
        let organizations = (profiles / 100).max(1);
        let workloads: Vec<_> =
            rows.workloads.iter().map(|workload| format!("'{}'", workload.as_str())).collect();
        let seed = format!(
            "set session_replication_role = replica;
             insert into organizations (id, name)
             select gen_random_uuid(), 'bench ' || n from generate_series(1, {organizations}) n;
             insert into profiles (organization_id, id, name, kind, incoming_host, incoming_port, incoming_tls,
                                   outgoing_host, outgoing_port, outgoing_tls, credentials_on, max_in_flight)
             select o.id, gen_random_uuid(), 'profile ' || n, 'pop3_smtp', 'pop.bench.example', 995, 'implicit',
                    'smtp.bench.example', 465, 'implicit', 'mailbox', 1000
             from organizations o, generate_series(1, {profiles} / {organizations}) n;
             do $$
             declare definitions text[];
             begin
                -- Filled first and indexed then, which takes a fifth of the time.
                select array_agg(pg_get_indexdef(indexrelid)) into definitions
                from pg_index where indrelid = 'schedules'::regclass and not indisprimary;
                execute (select string_agg(format('drop index %s', indexrelid::regclass), ';')
                         from pg_index where indrelid = 'schedules'::regclass and not indisprimary);
                insert into schedules (organization_id, mailbox_id, workload, profile_id, due_at, due_reason)
                select m.organization_id, m.id, w, m.profile_id, {due}, 'cadence'
                from (
                    select p.organization_id, p.id as profile_id, gen_random_uuid() as id
                    from profiles p, generate_series(1, {mailboxes} / {profiles})
                ) m, unnest(array[{workloads}]) w, lateral (
                    -- Of the whole row: joined to the workload alone it would be drawn once for each of them.
                    select random() as chance where m.id is not null and w is not null
                ) c
                order by random();
                execute array_to_string(definitions, ';');
             end
             $$;
             vacuum analyze schedules;
             analyze;
             checkpoint;",
            mailboxes = rows.mailboxes,
            workloads = workloads.join(","),
            due = rows.due,
        );
        let owner = database.owner().await?;
        for statement in split(&seed) {
            owner.batch_execute(&statement).await?;
        }
        let times =
            "select count(distinct due_at), count(*) from (select due_at from schedules limit 1000) s";
        let row = owner.query_one(times, &[]).await?;
        let [distinct, all] = [row.get::<_, i64>(0), row.get(1)];
        if distinct * 2 < all {
            return Err(format!("{all} rows are due at {distinct} moments and not one by one").into());
        }
        rabbitmq.create_vhost(VHOST).await;
        let broker = broker::Config {
            url: rabbitmq.amqp_uri(VHOST).into(),
            ca_file: String::new(),
            publish_window: NonZeroU32::try_from(defaults::<u32>("broker.publish_window")?)?,
            message_ttl_seconds: NonZeroU32::try_from(defaults::<u32>("broker.message_ttl_seconds")?)?,
            confirm_timeout_seconds: NonZeroU32::try_from(defaults::<u32>(
                "broker.confirm_timeout_seconds",
            )?)?,
            heartbeat_seconds: NonZeroU16::try_from(defaults::<u16>("broker.heartbeat_seconds")?)?,
        };
        Ok(Self { database, store, broker, rabbitmq, postgres })
    }

    pub(super) fn url(&self) -> String {
        self.rabbitmq.amqp_uri(VHOST)
    }

    /// A worker's session with so many slots that no window is smaller than what is due: the ring is measured, not the windows.
    pub(super) async fn session(&self) -> Result<SessionId, Trouble> {
        let hours = Duration::from_secs(4 * 3600);
        Ok(self.store.in_ring(async |ring| session::start(ring, "bench", 1_000_000, hours).await).await?)
    }

    pub(super) fn start(&self) -> Result<Running, Trouble> {
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(scheduler::run(
            defaults("scheduler")?,
            self.store.clone(),
            self.database.config.clone(),
            self.broker.clone(),
            shutdown.clone(),
        ));
        Ok(Running { shutdown, running })
    }
}

impl Running {
    /// Stops it in order: what it queued is published.
    pub(super) async fn stop(self) -> Result<(), Trouble> {
        self.shutdown.cancel();
        Ok(self.running.await??)
    }
}

/// Statements one by one: several sent at once are one transaction, in which nothing can be vacuumed.
fn split(seed: &str) -> Vec<String> {
    let (head, rest) = seed.split_once("do $$").unwrap_or((seed, ""));
    let (body, tail) = rest.split_once("$$;").unwrap_or((rest, ""));
    let mut statements: Vec<String> = vec![head.to_owned(), format!("do $${body}$$")];
    statements.extend(tail.split(';').map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned));
    statements
}

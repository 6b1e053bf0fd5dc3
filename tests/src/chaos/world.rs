//! An installation to be attacked: mailboxes on real mail servers behind counting proxies, short times, and a ledger of
//! what was put in at both ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::clock;
use serde_json::json;
use servers::{CountingProxy, MailServers};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::fleet::Fleet;
use super::history::{Arrived, Delivered};
use super::office::Office;
use crate::{Api, Configuration, Installation, MailProfile, Mailbox, Otlp, Servers, free_port, until};

/// The password of everyone: what must never be seen anywhere.
pub const CANARY: &str = "Kanarienvogel-4802";
/// Connections that each server may have.
pub const LIMIT: usize = 3;
/// How long a lease lasts.
pub const LEASE: Duration = Duration::from_secs(3);
/// For how long a slot stays charged when nobody knows of its connection: what a server's idle timeout is elsewhere. A
/// severed connection is closed by its server after it, a silence ends before it, and a frozen process must go on, or be
/// killed, before its lease and this have passed.
pub(crate) const IN_DOUBT: Duration = Duration::from_secs(8);
/// How long nothing is granted after Redis lost its data: the lease and the time in doubt.
pub(crate) const QUIET: Duration = Duration::from_secs(12);
/// How long a message waits in its queue before it counts as lost.
pub(crate) const QUEUED: Duration = Duration::from_secs(13);

/// An installation with mailboxes, and what was put into it.
pub struct World {
    /// What is attacked.
    pub installation: Installation,
    pub(crate) office: Office,
    pub(crate) fleet: Fleet,
    /// In front of the server that mail is read from.
    pub pop3: CountingProxy,
    /// In front of the server that mail is submitted to.
    pub smtp: CountingProxy,
    /// In front of each coordinator.
    pub(crate) coordinators: Vec<CountingProxy>,
    pub(crate) throttle: throttle::Config,
    pub(crate) spans: Otlp,
    pub(crate) delivered: Vec<Delivered>,
    written: usize,
}

impl World {
    /// Makes an installation with so many mailboxes; every second is a queue's that deletes on the server what it has
    /// recorded. Every role runs `replicas` times.
    ///
    /// # Panics
    /// When something cannot be made, with the cause.
    pub async fn new(servers: Arc<Servers>, mailboxes: usize, replicas: usize) -> Self {
        let mut installation = Installation::on(servers).await;
        let spans = Otlp::start().await;
        installation.configuration = short(installation.configuration.clone())
            .with("telemetry.otlp_url", spans.url())
            .with("telemetry.log_level", "info,lockstep_worker=debug,lockstep_cycle=debug");
        let (listens, coordinators) = coordinators(replicas).await;
        let urls: Vec<String> =
            coordinators.iter().map(|proxy| format!("http://127.0.0.1:{}", proxy.port())).collect();
        installation.configuration.set("throttle.urls", urls.clone());
        let throttle = throttle(&installation.configuration, urls);

        let mut fleet = Fleet::default();
        let configuration = installation.configuration.clone();
        for listen in &listens {
            let own = configuration.clone().with("coordinator.listen", listen.as_str());
            fleet.add(&installation, "coordinator", own);
        }
        for role in ["scheduler", "worker"] {
            for _ in 0..replicas {
                fleet.add(&installation, role, configuration.clone());
            }
        }
        fleet.add(&installation, "jobs", configuration.clone());
        fleet.add(&installation, "api", configuration);

        let mail = &installation.servers.mail;
        let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
        let smtp = CountingProxy::start(format!("127.0.0.1:{}", mail.submission_port)).await;
        let profile = MailProfile::of(mail)
            .incoming("localhost", pop3.port(), "start_tls")
            .outgoing("localhost", smtp.port(), "start_tls")
            .with("max_in_flight", LIMIT);
        ready(&installation.url()).await;
        let api = installation.organization("Example").await;
        let service = api.service().await;
        let profile = api.profile(&profile).await;
        let domain = format!("{}.example", &installation.virtual_host[..12]);
        let mut made = Vec::new();
        for number in 0..mailboxes {
            made.push(mailbox(&api, mail, &profile, number, &domain).await);
        }
        let spare = mailbox(&api, mail, &profile, mailboxes, &domain).await;
        let recipients = ["one", "two"].map(|name| format!("{name}@{domain}"));
        for recipient in &recipients {
            mail.add_mailbox(recipient, "somebody else's");
        }
        let office = Office { api, service, mailboxes: made, spare, recipients, taken: Arc::default() };
        Self {
            installation,
            office,
            fleet,
            pop3,
            smtp,
            coordinators,
            throttle,
            spans,
            delivered: Vec::new(),
            written: 0,
        }
    }

    /// Puts a message into each mailbox on the server.
    pub fn deliver(&mut self) {
        for mailbox in &self.office.mailboxes {
            self.written += 1;
            let message_id = format!("{}@sender.example", clock::new_id::<Uuid>());
            let line =
                "Nobody knows the trouble it has seen on its way here.\r\n".repeat(1 + self.written % 90);
            let message = format!(
                "From: Sender <sender@sender.example>\r\nTo: <{}>\r\nSubject: Number {}\r\nMessage-ID: <{message_id}>\r\n\
                 Date: Tue, 03 Mar 2026 10:00:00 +0000\r\nContent-Type: text/plain\r\n\r\n{line}",
                mailbox.address, self.written
            );
            self.installation.servers.mail.deliver(&mailbox.address, message.as_bytes());
            self.delivered.push(Delivered { mailbox: mailbox.address.clone(), message_id });
        }
    }

    /// Makes every incoming workload due now that waits for its time.
    pub async fn due(&self) {
        self.execute(
            "update schedules set due_at = now(), not_before = null, not_before_reason = null
             where workload = 'incoming' and state = 'idle' and due_at is not null",
        )
        .await;
        self.execute("select pg_notify('lockstep_due', '')").await;
    }

    /// Lets everything be tried now that waits for its time, as hours would.
    pub async fn pass_waits(&self) {
        for statement in [
            "update endpoints set open_until = now() where open_until > now()",
            "update mailbox_items set next_try_at = now() where next_try_at > now()",
            "update send_recipients set next_try_at = now()
             where next_try_at > now() and state in ('waiting', 'deferred')",
            "update schedules set due_at = now(), not_before = null, not_before_reason = null
             where workload = 'outgoing' and state = 'idle' and due_at is not null",
        ] {
            self.execute(statement).await;
        }
        self.due().await;
    }

    /// A session of the database's owner, as soon as Postgres takes one.
    pub(crate) async fn owner(&self) -> Client {
        until("Postgres answers", async || self.installation.database.owner().await).await
    }

    pub(crate) async fn rows(&self, statement: &str) -> Vec<Row> {
        until(statement, async || self.owner().await.query(statement, &[]).await).await
    }

    /// Executes a statement as the database's owner, as soon as Postgres takes it.
    pub async fn execute(&self, statement: &str) {
        until(statement, async || self.owner().await.execute(statement, &[]).await).await;
    }

    /// Whether Postgres refuses a table of some megabytes for want of room, or is gone for it.
    pub(crate) async fn no_room(&self) -> Result<(), String> {
        let Ok(owner) = self.installation.database.owner().await else { return Ok(()) };
        let large = "create table too_large as
             select string_agg(md5((i * j)::text), '') from generate_series(1, 3000) i, generate_series(1, 100) j group by i";
        match owner.batch_execute(large).await {
            Err(error) if error.is_closed() || error.code() == Some(&SqlState::DISK_FULL) => Ok(()),
            Err(error) if error.as_db_error().is_none() => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(()) => match owner.batch_execute("drop table too_large").await {
                Ok(()) => Err("there is room".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// What arrived at the recipients.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        for recipient in &self.office.recipients {
            for raw in self.installation.servers.mail.messages(recipient) {
                let raw = String::from_utf8_lossy(&raw).into_owned();
                let id = raw.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default();
                let message_id = id.trim().trim_start_matches('<').trim_end_matches('>').to_owned();
                arrived.push(Arrived { recipient: recipient.clone(), message_id });
            }
        }
        arrived
    }

    /// Copies the logs of all processes to where they stay, and says where.
    pub(crate) fn keep_logs(&self) -> PathBuf {
        let kept = tempfile::Builder::new().prefix("lockstep-chaos.").tempdir().expect("a directory").keep();
        for (name, text) in self.installation.logs() {
            std::fs::write(kept.join(name), text).expect("a log that stays");
        }
        kept
    }
}

/// Times of seconds, each a setting of the product.
fn short(configuration: Configuration) -> Configuration {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    configuration
        .with("database.connect_timeout_seconds", 2)
        .with("database.statement_timeout_seconds", 10)
        .with("database.idle_transaction_timeout_seconds", 5)
        .with("broker.message_ttl_seconds", seconds(QUEUED) - 3)
        .with("broker.confirm_timeout_seconds", 3)
        .with("broker.heartbeat_seconds", 2)
        .with("coordinator.lease_millis", millis(LEASE))
        .with("coordinator.renew_millis", 1000)
        .with("coordinator.quiet_after_loss_millis", millis(QUIET))
        .with("throttle.wait_seconds", 3)
        .with("cycle.max_seconds", 8)
        .with("cycle.phase_seconds", 5)
        .with("cycle.batch_items", 5)
        .with("cycle.smtp_message_seconds", 5)
        .with("cycle.smtp_verdict_seconds", 5)
        .with("cycle.pop3_in_doubt_seconds", seconds(IN_DOUBT))
        .with("cycle.smtp_in_doubt_seconds", seconds(IN_DOUBT))
        .with("cycle.ews_in_doubt_seconds", seconds(IN_DOUBT))
        .with("scheduler.sweep.cycle_seconds", 25)
        .with("scheduler.sweep.job_seconds", 25)
        .with("scheduler.sweep.queued_seconds", seconds(QUEUED))
}

/// Addresses for coordinators to listen on, with a proxy before each.
async fn coordinators(count: usize) -> (Vec<String>, Vec<CountingProxy>) {
    let (mut listens, mut proxies) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let listen = format!("127.0.0.1:{}", free_port());
        proxies.push(CountingProxy::start(&listen).await);
        listens.push(listen);
    }
    (listens, proxies)
}

/// What a person at the installation asks coordinators with.
fn throttle(configuration: &Configuration, urls: Vec<String>) -> throttle::Config {
    let defaults: toml::Table = include_str!("../../../config.default.toml").parse().expect("the defaults");
    let shares = defaults["throttle"]["shares"].clone();
    throttle::Config {
        urls,
        token: configuration.get("throttle.token").unwrap_or_default().to_owned().into(),
        ca_file: String::new(),
        wait_seconds: 3,
        away_snooze_seconds: 1,
        shares: shares.try_into().expect("the shares"),
    }
}

async fn ready(url: &str) {
    let client = Api::client();
    until("the API answers", async || {
        let answer = client.get(format!("{url}/ready")).send().await?;
        answer.error_for_status()
    })
    .await;
}

/// A person's mailbox, or a queue's that deletes what is recorded, on the server and here; enabled.
async fn mailbox(api: &Api, mail: &MailServers, profile: &str, number: usize, domain: &str) -> Mailbox {
    let address = format!("box{number}@{domain}");
    mail.add_mailbox(&address, CANARY);
    let queue = number % 2 == 1;
    let owner = if queue { api.queue(&address).await } else { api.user(&address).await };
    let mailbox = api.mailbox(profile, owner, &address, CANARY).await;
    if queue {
        api.patch(&format!("/mailboxes/{}", mailbox.id), &json!({"delete_after_processing": true})).await;
    }
    api.enable(&mailbox).await;
    mailbox
}

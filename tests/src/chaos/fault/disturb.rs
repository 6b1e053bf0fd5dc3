//! The faults that take more than a command: wrong clocks, a network that loses everything, a forgetful Redis, and messages that nobody should send.

use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use broker::{CycleInvitation, Invitation, Publication, Publisher, Queue};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use model::workload::Workload;
use tokio::time::{Instant, sleep};

use crate::chaos::world::{IN_DOUBT, World};

/// Debian's package `faketime`, which `make chaos` installs.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

impl World {
    /// Starts a process of this role again with a wall clock that is wrong, and lets it work like that.
    ///
    /// # Panics
    /// When the library that lies about the time is not there.
    pub(super) async fn wrong_clock(&mut self, role: &str, offset: &str, length: Duration) {
        let library = LIBRARIES.iter().find(|library| Path::new(library).exists());
        let library =
            library.expect("libfaketime: install Debian's package `faketime`, as `make chaos` does");
        let Some(place) = self.fleet.of(role).first().copied() else { return };
        let environment =
            [("LD_PRELOAD", *library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.fleet.members[place].kill().await;
        self.fleet.members[place].start(&self.installation, &environment);
        sleep(Duration::from_secs(3) + length).await;
        assert!(self.fleet.members[place].runs(), "a {role} with a wrong clock ended");
        // It stays as it is until the next fault that ends it.
    }

    /// Makes the network lose everything on the connections that are open now, and lets others want theirs until the
    /// servers' idle time is over: a worker that died before that would leave nobody who doubts.
    ///
    /// # Panics
    /// When no mail is read meanwhile.
    pub(super) async fn sever_mail(&mut self) {
        // Cycles last long enough to be caught in their middle.
        self.pop3.delay(Duration::from_millis(100));
        self.smtp.delay(Duration::from_millis(100));
        self.deliver();
        self.due().await;
        assert!(self.pop3.connected(1).await, "nobody reads mail");
        self.pop3.sever(IN_DOUBT);
        self.smtp.sever(IN_DOUBT);
        self.pop3.delay(Duration::ZERO);
        self.smtp.delay(Duration::ZERO);
        let closed = Instant::now() + IN_DOUBT;
        while Instant::now() < closed {
            self.due().await;
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Removes everything from the ledger's database.
    ///
    /// # Panics
    /// When Redis refuses.
    pub(super) async fn flush_redis(&self) {
        let url = self.installation.configuration.get("coordinator.redis_url").unwrap_or_default();
        let client = redis::Client::open(url).expect("the address of Redis");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let () = redis::cmd("FLUSHDB").query_async(&mut connection).await.expect("Redis forgets");
    }

    /// Publishes what is queued now once more, what was long ago, what is yet to come, in this order and the other, and
    /// bytes that mean nothing.
    ///
    /// # Panics
    /// When the broker does not take them.
    pub(super) async fn strange_messages(&self, number: u64) {
        let rows = self.rows("select organization_id, mailbox_id, workload, claim from schedules").await;
        let mut batch = Vec::new();
        for row in rows {
            let workload: String = row.get("workload");
            let Ok(workload) = workload.parse::<Workload>() else { continue };
            let claim: i64 = row.get("claim");
            for claim in [claim, claim - 1, claim, claim + 1, claim + 1000] {
                let invitation = Invitation::Cycle(CycleInvitation {
                    organization: model::id::OrganizationId(row.get("organization_id")),
                    mailbox: model::id::MailboxId(row.get("mailbox_id")),
                    workload,
                    claim,
                });
                batch.push(Publication { invitation, trace: None });
            }
        }
        if number.is_multiple_of(2) {
            batch.reverse();
        }
        let url = self.installation.configuration.get("broker.url").unwrap_or_default().to_owned();
        let config = broker::Config {
            url: url.clone().into(),
            ca_file: String::new(),
            publish_window: NonZero::new(100).expect("not zero"),
            message_ttl_seconds: NonZero::new(10).expect("not zero"),
            confirm_timeout_seconds: NonZero::new(10).expect("not zero"),
            heartbeat_seconds: NonZero::new(10).expect("not zero"),
        };
        let publisher = Publisher::new(&config, "chaos").expect("a publisher");
        publisher.publish_batch(&batch).await;

        let connection =
            Connection::connect(&url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        for length in 0..40_u8 {
            let poison: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37) ^ length).collect();
            for queue in [Queue::of(Workload::Incoming), Queue::of(Workload::Outgoing), Queue::Jobs] {
                let confirm = channel
                    .basic_publish(
                        "".into(),
                        queue.to_string().into(),
                        BasicPublishOptions::default(),
                        &poison,
                        BasicProperties::default(),
                    )
                    .await;
                confirm.expect("the broker takes it");
            }
        }
    }
}

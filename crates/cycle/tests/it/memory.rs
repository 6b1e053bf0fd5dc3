//! The memory that cycles share: servers which list large messages and give them slowly, or never, hold up nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cycle::{Config, Cycle, Ending};
use model::cadence::Outcome;
use model::email::EmailState;
use model::endpoint::Protocol;
use model::id::MailboxId;
use model::workload::Workload;
use store::outgoing::Draft;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::house::{House, config, message};
use crate::outgoing::{pending, state, to};
use crate::scripted::{Do, Scripted, say};

/// A server whose only message is listed with this size, and given when the server is told to.
struct Large {
    server: Scripted,
    asked: Arc<AtomicUsize>,
    given: Arc<Notify>,
}

impl Large {
    async fn listing(size: u32) -> Self {
        let (asked, given) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, told) = (asked.clone(), given.clone());
        let server = Scripted::start(Protocol::Pop3, "+OK ready\r\n", move |line| {
            match line.split(' ').next().unwrap_or_default() {
                "CAPA" => say("+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n"),
                "LIST" => say(format!("+OK\r\n1 {size}\r\n.\r\n")),
                "UIDL" => say("+OK\r\n1 one\r\n.\r\n"),
                "RETR" => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let whole = [b"+OK\r\n", &message(1, "somebody@example.org")[..], b".\r\n"].concat();
                    Do::When(told.clone(), whole)
                }
                _ => say("+OK\r\n"),
            }
        })
        .await;
        Self { server, asked, given }
    }

    async fn house(&self, config: Config) -> House {
        let (endpoint, ca) = (self.server.endpoint.clone(), self.server.ca_pem.clone());
        House::with(config, |profile| {
            profile.incoming = endpoint;
            profile.ca_certificate = Some(ca);
        })
        .await
    }

    async fn was_asked(&self, times: usize) {
        while self.asked.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn begin(house: &House, id: MailboxId) -> JoinHandle<(Ending, Cycle)> {
    let mut cycle = house.claimed(id, Workload::Incoming).await.expect("due");
    tokio::spawn(async move { (cycle.run(|| true).await.expect("ours"), cycle) })
}

#[tokio::test]
async fn servers_that_list_large_messages_and_give_none_hold_up_neither_fetching_nor_sending_elsewhere() {
    let slow = [Large::listing(10_000_000).await, Large::listing(10_000_000).await];
    let config =
        Config { memory_mb: 40, send_memory_mb: 1, phase_seconds: 600, max_seconds: 600, ..config() };
    let mut house = slow[0].house(config).await;
    let mut held = Vec::new();
    for (number, server) in slow.iter().enumerate() {
        if number > 0 {
            let (endpoint, ca) = (server.server.endpoint.clone(), server.server.ca_pem.clone());
            house
                .move_to("slow too", |profile| {
                    profile.incoming = endpoint;
                    profile.ca_certificate = Some(ca);
                })
                .await;
        }
        // Together they would take twice what there is.
        for person in 0..4 {
            let (_, id, _) = house.person(&format!("slow{number}{person}")).await;
            held.push(begin(&house, id).await);
        }
        server.was_asked(1).await;
    }
    house.move_to("good", |_| {}).await;
    let (_, good, address) = house.person("good").await;
    for number in 1..=3 {
        house.servers.deliver(&address, &message(number, &address));
        let (ending, _) = house.cycle(good, Workload::Incoming).await;
        assert!(matches!(ending.outcome, Outcome::Done { items: 1, cut_off: false }), "{:?}", ending.outcome);
        let email = pending(&house, good, Draft { to: to(&address), ..Draft::default() }).await;
        house.cycle(good, Workload::Outgoing).await;
        assert_eq!(state(&house, email).await, EmailState::Sent);
        // Its own report of that comes in as any other mail does.
        house.arrived(&address, 2 * number).await;
        house.cycle(good, Workload::Incoming).await;
    }
    assert_eq!(held.iter().filter(|cycle| cycle.is_finished()).count(), 0, "nobody waited for a slow one");
    let asked: usize = slow.iter().map(|server| server.asked.load(Ordering::SeqCst)).sum();
    assert!(asked < 4, "{asked} of ten megabytes hold less than forty");
}

#[tokio::test]
async fn a_cycle_that_gets_no_memory_in_its_time_ends_and_goes_on_later() {
    let slow = Large::listing(15_000_000).await;
    let house = slow.house(Config { memory_mb: 30, max_seconds: 2, ..config() }).await;
    let (_, first, _) = house.person("first").await;
    let (_, second, _) = house.person("second").await;
    let holder = begin(&house, first).await;
    slow.was_asked(1).await;
    // What it read cannot be committed, and stays in memory for that long.
    let mut owner = house.database.owner().await.unwrap();
    let lock = owner.transaction().await.unwrap();
    lock.execute("select from schedules where mailbox_id = $1 for update", &[&first.0]).await.unwrap();
    slow.given.notify_one();
    let (ending, waited) = begin(&house, second).await.await.unwrap();
    assert!(matches!(ending.outcome, Outcome::Done { items: 0, cut_off: true }), "{:?}", ending.outcome);
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
    waited.finish(&ending).await.unwrap();
    assert!(!holder.is_finished());
    lock.rollback().await.unwrap();
    let (ending, held) = holder.await.unwrap();
    assert!(matches!(ending.outcome, Outcome::Done { items: 1, .. }), "{:?}", ending.outcome);
    held.finish(&ending).await.unwrap();

    let again = begin(&house, second).await;
    slow.was_asked(2).await;
    slow.given.notify_one();
    let (ending, _) = again.await.unwrap();
    assert!(matches!(ending.outcome, Outcome::Done { items: 1, cut_off: false }), "{:?}", ending.outcome);
}

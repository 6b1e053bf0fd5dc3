//! One bad message, or one slow server, holds up nothing but itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cycle::Config;
use model::alert::AlertKind;
use model::cadence::Outcome;
use model::email::EmailState;
use model::failure::FailureScope;
use model::workload::Workload;
use store::outgoing::Draft;
use store::{schedule, testing};
use tokio::sync::Notify;

use crate::house::{House, config, message};
use crate::outgoing::{pending, state, to};
use crate::scripted::{Do, Scripted, say, whole};

async fn house(config: Config, server: &Scripted) -> House {
    let (endpoint, ca) = (server.endpoint.clone(), server.ca_pem.clone());
    House::with(config, |profile| {
        profile.incoming = endpoint;
        profile.ca_certificate = Some(ca);
    })
    .await
}

fn messages(count: usize) -> Vec<Vec<u8>> {
    (1..=count).map(|number| message(number, "x@example.org")).collect()
}

/// Lets so much time pass that every mail that waits to be sent is due.
async fn later(house: &House) {
    after(house, Duration::from_secs(700)).await;
}

/// Lets so much time pass that everything that failed is due.
async fn much_later(house: &House) {
    after(house, Duration::from_secs(2500)).await;
}

async fn after(house: &House, time: Duration) {
    testing::pass(&house.database, time).await.unwrap();
    let owner = house.database.owner().await.unwrap();
    owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
}

#[tokio::test]
async fn a_message_that_always_breaks_the_connection_is_given_up_and_the_others_come_in() {
    let server =
        Scripted::pop3(messages(5), |number, raw| if number == 2 { Do::Break } else { whole(raw) }).await;
    let house = house(config(), &server).await;
    let (_, id, _) = house.person("anna").await;
    for _ in 0..7 {
        house.cycle(id, Workload::Incoming).await;
        much_later(&house).await;
    }
    assert_eq!(house.count("emails").await, 4);
    assert_eq!(house.count("mailbox_items where decision = 'undeliverable' and attempts = 5").await, 1);
    assert_eq!(house.count("alerts where kind = 'message_undeliverable'").await, 1);
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 1);
}

#[tokio::test]
async fn a_server_that_gives_no_message_at_all_fails_the_mailbox_and_gives_up_none_of_them() {
    let server = Scripted::pop3(messages(5), |_, _| say("-ERR the store is away\r\n")).await;
    let house = house(config(), &server).await;
    let (_, id, _) = house.person("emma").await;
    for failures in 1..=7 {
        let (ending, next) = house.cycle(id, Workload::Incoming).await;
        let Outcome::Failed(failure) = ending.outcome else { panic!("{:?}", ending.outcome) };
        assert_eq!((failure.scope, failure.alert), (FailureScope::Mailbox, AlertKind::MessagesWithheld));
        assert_eq!(next.failures, failures);
        much_later(&house).await;
    }
    assert_eq!(house.count("mailbox_items").await, 0);
    assert_eq!(
        house
            .count(
                "alerts where kind = 'messages_withheld' and server_said = 'the store is away' and count = 7"
            )
            .await,
        1
    );
    assert_eq!(house.count("alerts").await, 1);
}

#[tokio::test]
async fn messages_that_are_refused_one_by_one_are_given_up_and_their_mailbox_goes_on() {
    let server =
        Scripted::pop3(
            messages(5),
            |number, raw| {
                if number > 2 { say("-ERR no such file\r\n") } else { whole(raw) }
            },
        )
        .await;
    let house = house(config(), &server).await;
    let (_, id, _) = house.person("finn").await;
    // From the second cycle on nothing is asked for but the three: a message that was recorded before tells their failure
    // from the server's.
    for _ in 0..6 {
        let (ending, _) = house.cycle(id, Workload::Incoming).await;
        assert!(matches!(ending.outcome, Outcome::Done { .. }), "{:?}", ending.outcome);
        much_later(&house).await;
    }
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("mailbox_items where decision = 'undeliverable' and attempts = 5").await, 3);
    assert_eq!(house.count("alerts where kind = 'message_undeliverable'").await, 3);
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 1);
}

#[tokio::test]
async fn a_large_message_that_the_server_refuses_fails_alone() {
    let mut large = message(1, "x@example.org");
    large.resize(33_000_000, b'x');
    let server = Scripted::pop3([vec![large], messages(3)].concat(), |number, raw| {
        if number == 1 { say("-ERR cannot read it\r\n") } else { whole(raw) }
    })
    .await;
    let house = house(config(), &server).await;
    let (_, id, _) = house.person("bert").await;
    house.takes_messages_up_to(100).await;
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 4, .. }), "{:?}", ending.outcome);
    assert_eq!(house.count("emails").await, 3);
    assert_eq!(house.count("mailbox_items where decision = 'failed'").await, 1);
}

#[tokio::test]
async fn a_cycle_whose_time_is_over_commits_what_it_has_and_is_due_at_once() {
    let mut config = config();
    config.max_seconds = 2;
    let server =
        Scripted::pop3(messages(5), |number, raw| if number == 4 { Do::Stall } else { whole(raw) }).await;
    let house = house(config, &server).await;
    let (_, id, _) = house.person("carl").await;
    let (ending, next) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 3, cut_off: true }), "{:?}", ending.outcome);
    assert_eq!(next.delay, Some(Duration::ZERO));
    assert_eq!(house.count("emails").await, 3);
}

#[tokio::test]
async fn messages_larger_than_the_listing_said_end_a_batch_before_they_fill_the_memory() {
    let mut config = config();
    config.batch_mb = 1;
    let more = b"0123456789012345678901234567890123456789\r\n".repeat(20_000);
    let server = Scripted::pop3(messages(20), move |_, listed| whole(&[listed, &more[..]].concat())).await;
    let house = house(config, &server).await;
    let (_, id, _) = house.person("dora").await;
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 1..=4, cut_off: true }), "{:?}", ending.outcome);
    for _ in 0..9 {
        house.cycle(id, Workload::Incoming).await;
    }
    assert_eq!(house.count("emails").await, 20);
}

#[tokio::test]
async fn a_mail_that_always_breaks_its_connection_holds_up_the_others_once_and_switches_nothing_off() {
    let server = Scripted::smtp(|line| line.starts_with("RCPT TO:<poison").then_some(Do::Break)).await;
    let house = House::sending_to(&server, config()).await;
    let (_, from, _) = house.person("sender").await;
    let draft = |address: &str| Draft { to: to(address), ..Draft::default() };
    let poison = pending(&house, from, draft("poison@example.org")).await;
    let other = pending(&house, from, draft("other@example.org")).await;
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(house.count("alerts where kind = 'connection_lost' and resolved_at is null").await, 1);
    for _ in 0..12 {
        later(&house).await;
        house.cycle(from, Workload::Outgoing).await;
    }
    assert_eq!(
        (state(&house, poison).await, state(&house, other).await),
        (EmailState::PendingSend, EmailState::Sent)
    );
    assert_eq!(house.count("mailbox_workloads where workload = 'outgoing' and enabled").await, 1);
    assert_eq!(house.count("alerts where kind = 'connection_lost' and resolved_at is null").await, 0);
    let tries = house.count("send_attempts where answer = 'not_sent'").await;
    assert!((3..=9).contains(&tries), "{tries} tries in more than two hours");
}

/// What the sweep does with a cycle whose process died.
async fn swept(house: &House) {
    let owner = house.database.owner().await.unwrap();
    owner
        .execute(
            "update schedules set state = 'idle', session_id = null, deaths = deaths + 1, due_at = now()
             where state = 'running'",
            &[],
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_over_which_processes_die_is_kept_raw_in_the_end_and_holds_up_no_other() {
    // The process dies whenever the second message is asked for, until the sixth time.
    let (asked, deadly) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let (heard, kills) = (asked.clone(), deadly.clone());
    let server = Scripted::pop3(messages(5), move |number, raw| {
        if number == 2 && kills.load(Ordering::SeqCst) {
            heard.notify_one();
            return Do::Stall;
        }
        whole(raw)
    })
    .await;
    let house = house(config(), &server).await;
    let (_, id, _) = house.person("emil").await;
    // Twice nobody knows why, and what came before it in the batch is lost with it.
    for deaths in 1..=5 {
        let tenant = house.tenant().await;
        schedule::wish(&tenant, id, Workload::Incoming).await.unwrap();
        tenant.commit().await.unwrap();
        let mut cycle = house.claimed(id, Workload::Incoming).await.expect("due");
        let dying = tokio::spawn(async move { cycle.run(|| true).await.is_some() });
        asked.notified().await;
        dying.abort();
        assert!(dying.await.is_err(), "it died");
        swept(&house).await;
        let (emails, blamed) = match deaths {
            1 | 2 => (0, 0),
            // Then one item at a time: the first is safe, and the second is found out.
            3 => (1, 1),
            // It comes last from now on.
            _ => (4, 1),
        };
        assert_eq!(house.count("emails").await, emails, "after {deaths} deaths");
        let row =
            "mailbox_items where decision = 'failed' and rule = 'in_hand' and deaths > 0 and attempts = 0";
        assert_eq!(house.count(row).await, blamed, "after {deaths} deaths");
    }
    deadly.store(false, Ordering::SeqCst);
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 1, .. }), "{:?}", ending.outcome);
    assert_eq!(house.count("emails where 'unparsable' = any(warnings) and message_id is null").await, 1);
    assert_eq!(house.count("email_copies where raw_sha256 is not null").await, 5);
    assert_eq!(house.count("alerts where kind = 'message_unparsable' and resolved_at is null").await, 1);
    assert_eq!(house.count("schedules where deaths > 0").await, 0);
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 0, .. }), "{:?}", ending.outcome);
}

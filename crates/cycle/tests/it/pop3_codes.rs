//! Where each refusal of RFC 2449 and RFC 3206 lands, by the phase in which it is said.

use std::time::Duration;

use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::failure::FailureScope;
use model::workload::Workload;
use store::testing;

use crate::house::{House, config};
use crate::maildrop::Maildrop;
use crate::scripted::say;

/// Everything waits no longer, and nothing is remembered of what failed.
async fn fresh(house: &House) {
    testing::pass(&house.database, Duration::from_secs(4000)).await.unwrap();
    let owner = house.database.owner().await.unwrap();
    owner
        .batch_execute(
            "update sessions set seen_at = now(); delete from endpoints;
             update schedules set failures = 0, refusals = 0, last_outcome = null, first_refused_at = null",
        )
        .await
        .unwrap();
}

/// What a cycle came to, in a word.
fn came_to(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { items, .. } => format!("done {items}"),
        Outcome::Snooze { reason, .. } => format!("snooze {reason}"),
        Outcome::Failed(failure) => format!("{} {}", failure.scope, failure.alert),
    }
}

#[tokio::test]
async fn each_code_in_each_phase_lands_in_its_scope() {
    const CODES: [&str; 7] =
        ["[SYS/TEMP] x", "[SYS/PERM] x", "[AUTH] x", "[IN-USE] x", "[LOGIN-DELAY] x", "[NEW/CODE] x", "no"];
    let busy = "server server_busy";
    let mailbox_busy = "mailbox server_busy";
    let withheld = "mailbox messages_withheld";
    let sign_in = [
        mailbox_busy,
        "mailbox mailbox_refused",
        "credential credentials_refused",
        "mailbox mailbox_locked",
        "snooze server_asked",
        mailbox_busy,
        mailbox_busy,
    ];
    let signed_in = [
        mailbox_busy,
        "mailbox mailbox_refused",
        mailbox_busy,
        "mailbox mailbox_locked",
        "snooze server_asked",
        mailbox_busy,
        mailbox_busy,
    ];
    let drop = Maildrop::with(1).await;
    let (house, id) = drop.queue(config()).await;
    for (phase, expected) in [
        ("", [busy, "server mailbox_refused", busy, busy, busy, busy, busy]),
        ("USER", sign_in),
        ("PASS", sign_in),
        ("LIST", signed_in),
        ("UIDL", signed_in),
        // One message's trouble, unless the server says that it is the system's and gives no other message.
        ("RETR", [withheld, withheld, "done 1", "done 1", "done 1", "done 1", "done 1"]),
        ("DELE", ["done 1"; 7]),
        ("QUIT", ["done 1"; 7]),
    ] {
        for (code, expected) in CODES.iter().zip(expected) {
            drop.says(move |line| {
                (line.split(' ').next() == Some(phase)).then(|| say(format!("-ERR {code}\r\n")))
            });
            let uid = format!("{phase}{code}").replace([' ', '/'], "-");
            drop.state().messages = vec![(uid, crate::maildrop::plain(1))];
            let (ending, _) = house.cycle(id, Workload::Incoming).await;
            assert_eq!(came_to(&ending.outcome), expected, "{phase:?} {code}");
            fresh(&house).await;
        }
    }
    // A message that is refused is an item that failed; one whose deletion is refused is recorded all the same.
    assert_eq!(house.count("mailbox_items where decision = 'failed'").await, 5);
    assert_eq!(house.count("mailbox_items where decision in ('recorded', 'duplicate')").await, 14);
    assert_eq!(
        house
            .count("mailbox_items where decision in ('recorded', 'duplicate') and delete_asked_at is null")
            .await,
        0
    );
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 1);
}

#[tokio::test]
async fn a_system_that_gives_no_message_gives_up_none_and_a_message_it_alone_refuses_is_given_up() {
    for code in ["SYS/TEMP", "sys/perm"] {
        let drop = Maildrop::with(2).await;
        drop.says(move |line| line.starts_with("RETR").then(|| say(format!("-ERR [{code}] no store\r\n"))));
        let (house, id) = drop.house(config()).await;
        // Longer than the five tries of a message.
        for failures in 1..=6 {
            let (ending, next) = house.cycle(id, Workload::Incoming).await;
            assert_eq!(came_to(&ending.outcome), "mailbox messages_withheld", "{code}");
            assert_eq!(next.failures, failures);
            testing::pass(&house.database, Duration::from_secs(4000)).await.unwrap();
            house
                .database
                .owner()
                .await
                .unwrap()
                .execute("update sessions set seen_at = now()", &[])
                .await
                .unwrap();
        }
        assert_eq!(house.count("mailbox_items").await, 0);
        // The system is back, and says the same of one message only.
        drop.says(move |line| (line == "RETR 1").then(|| say(format!("-ERR [{code}] no store\r\n"))));
        for _ in 0..6 {
            let (ending, _) = house.cycle(id, Workload::Incoming).await;
            assert!(came_to(&ending.outcome).starts_with("done"), "{:?}", ending.outcome);
            testing::pass(&house.database, Duration::from_secs(4000)).await.unwrap();
            house
                .database
                .owner()
                .await
                .unwrap()
                .execute("update sessions set seen_at = now()", &[])
                .await
                .unwrap();
        }
        assert_eq!(house.count("mailbox_items where decision = 'undeliverable' and attempts = 5").await, 1);
        assert_eq!(house.count("emails").await, 1);
    }
}

#[tokio::test]
async fn a_header_that_is_refused_leaves_the_message_to_be_read_whole() {
    for code in ["[SYS/TEMP] x", "[SYS/PERM] x", "no"] {
        let drop = Maildrop::with(2).await;
        drop.says(move |line| line.starts_with("TOP").then(|| say(format!("-ERR {code}\r\n"))));
        let (house, id) = drop.house(config()).await;
        let (ending, _) = house.cycle(id, Workload::Incoming).await;
        assert_eq!(came_to(&ending.outcome), "done 2");
        assert_eq!(house.count("emails").await, 2);
    }
}

#[tokio::test]
async fn a_server_that_cannot_open_one_mailbox_is_not_down_and_one_that_opens_none_is() {
    let drop = Maildrop::with(0).await;
    let (house, first) = drop.house(config()).await;
    drop.says(|line| line.starts_with("PASS").then(|| say("-ERR [SYS/TEMP] try later\r\n")));
    // All there are, though one only.
    assert_eq!(house.cycle(first, Workload::Incoming).await.1.reason, DueReason::ServerDown);
    fresh(&house).await;
    let mut people = vec![first];
    for name in ["bert", "carl", "dora", "emil", "fritz"] {
        people.push(house.person(name).await.1);
    }
    for (place, id) in people.iter().enumerate() {
        let (ending, next) = house.cycle(*id, Workload::Incoming).await;
        let Outcome::Failed(failure) = ending.outcome else { panic!("{:?}", ending.outcome) };
        assert_eq!((failure.scope, failure.alert), (FailureScope::Mailbox, AlertKind::ServerBusy));
        let expected = if place < 4 { DueReason::Retry } else { DueReason::ServerDown };
        assert_eq!(next.reason, expected, "mailbox {place}");
        if place == 4 {
            break;
        }
    }
    assert_eq!(house.count("endpoints where failures = 1 and open_until > now()").await, 1);
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 6);
}

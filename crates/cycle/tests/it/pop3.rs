//! What POP3 servers do to the names of messages, and what Lockstep makes of it over whole cycles.

use std::time::Duration;

use cycle::{Config, Taking};
use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::failure::FailureScope;
use model::workload::Workload;
use store::{mailbox, testing};

use crate::house::{House, config};
use crate::maildrop::{Maildrop, plain, received_at};
use crate::scripted::{Do, say};

pub(crate) async fn expect(house: &House, counts: &[(&str, i64)]) {
    for (what, expected) in counts {
        assert_eq!(house.count(what).await, *expected, "{what}");
    }
}

/// Lets so much time pass that everything that waits is due.
pub(crate) async fn later(house: &House) {
    testing::pass(&house.database, Duration::from_secs(4000)).await.unwrap();
    let owner = house.database.owner().await.unwrap();
    owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
}

#[tokio::test]
async fn a_server_that_gives_everything_new_names_makes_no_record_twice() {
    let drop = Maildrop::with(30).await;
    let (house, id) = drop.house(Config { max_items: 12, ..config() }).await;
    for _ in 0..3 {
        house.cycle(id, Workload::Incoming).await;
    }
    expect(&house, &[("emails", 30), ("mailbox_items", 30), ("alerts", 0)]).await;
    for (number, (uid, _)) in drop.state().messages.iter_mut().enumerate() {
        *uid = format!("b{number}");
    }
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[
            ("mailbox_items where decision = 'duplicate'", 12),
            ("alerts where kind = 'mailbox_emptied' and (parameters->>'gone')::int = 30", 1),
        ],
    )
    .await;
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    expect(
        &house,
        &[
            ("emails", 30),
            ("receipts", 30),
            ("mailbox_items where decision = 'recorded' and gone_at is not null", 30),
            ("mailbox_items where decision = 'duplicate' and gone_at is null", 30),
            ("alerts where kind = 'mailbox_emptied'", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn old_mail_under_new_names_is_judged_by_its_header_again() {
    let drop = Maildrop::with(20).await;
    let (house, id) = drop.house(config()).await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update mailboxes set process_email_received_after = '2026-11-20T12:00:00Z'", &[])
        .await
        .unwrap();
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("RETR").len(), 0);
    for (number, (uid, _)) in drop.state().messages.iter_mut().enumerate() {
        *uid = format!("b{number}");
    }
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("RETR").len(), 0);
    expect(&house, &[("emails", 0), ("mailbox_items where decision = 'before_the_floor'", 40)]).await;
}

#[tokio::test]
async fn a_name_that_another_message_has_now_is_another_item() {
    let drop = Maildrop::with(3).await;
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    // Another size: another item, at once.
    drop.state().messages[1].1 = plain(1000);
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails", 4), ("mailbox_items", 4), ("mailbox_items where gone_at is not null", 1)])
        .await;
    // The same size: as soon as the name was gone for one listing.
    let third = drop.state().messages.pop().unwrap();
    house.cycle(id, Workload::Incoming).await;
    drop.heard("");
    let other = received_at(9, "10:00:07");
    assert_eq!(third.1.len(), other.len());
    drop.state().messages.push((third.0, other));
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("RETR"), ["RETR 3"]);
    expect(
        &house,
        &[
            ("emails", 5),
            ("mailbox_items", 5),
            ("mailbox_items where gone_at is not null", 2),
            ("mailbox_items where item_id like 'a3/%~%'", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_was_hidden_for_a_while_is_recognised_and_not_read_again() {
    let drop = Maildrop::with(5).await;
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    let all = std::mem::take(&mut drop.state().messages);
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("mailbox_items where gone_at is not null", 5)]).await;
    drop.heard("");
    drop.state().messages = all;
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("RETR").len(), 0);
    expect(&house, &[("emails", 5), ("mailbox_items where gone_at is null", 5)]).await;
    // And stays so.
    house.cycle(id, Workload::Incoming).await;
    assert_eq!((drop.heard("TOP").len(), house.count("mailbox_items").await), (0, 5));
}

#[tokio::test]
async fn messages_of_one_name_are_told_apart_by_size_and_order() {
    let drop = Maildrop::with(0).await;
    drop.state().messages = [1, 1, 2, 1000].map(|number| ("same".to_owned(), plain(number))).into();
    let (house, id) = drop.house(config()).await;
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    expect(
        &house,
        &[
            ("emails", 3),
            ("mailbox_items", 4),
            ("mailbox_items where decision = 'duplicate' and item_id like 'same/%/2'", 1),
        ],
    )
    .await;
    assert_eq!(drop.heard("RETR").len(), 4);
}

#[tokio::test]
async fn a_listing_that_is_cut_off_or_lacks_names_marks_nothing_gone() {
    let drop = Maildrop::with(20).await;
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    // The server closes the connection in the middle of its names.
    drop.says(|line| (line == "UIDL").then(|| Do::SayAndBreak(b"+OK\r\n1 a1\r\n2 a".to_vec())));
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Failed(_)), "{:?}", ending.outcome);
    // Or ends them early.
    drop.says(|line| (line == "UIDL").then(|| say("+OK\r\n1 a1\r\n21 new\r\n.\r\n")));
    drop.state().messages.push(("new".to_owned(), plain(21)));
    later(&house).await;
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[
            ("mailbox_items where gone_at is not null", 0),
            ("emails", 21),
            ("alerts where kind = 'mailbox_emptied'", 0),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_vanishes_before_it_could_be_recorded_is_told() {
    let drop = Maildrop::with(3).await;
    drop.says(|line| (line == "RETR 2").then(|| say("-ERR cannot read it\r\n")));
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    drop.state().messages.clear();
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    expect(
        &house,
        &[
            ("emails", 2),
            ("mailbox_items where gone_at is not null", 3),
            ("alerts where kind = 'messages_vanished' and parameters->>'count' = '1' and count = 1", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_hides_what_was_retrieved_takes_no_row_and_no_record_with_it() {
    let drop = Maildrop::with(12).await;
    let (house, id) = drop.house(config()).await;
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 12, .. }));
    drop.state().messages.clear();
    house.cycle(id, Workload::Incoming).await;
    drop.state().messages.push(("a13".to_owned(), plain(13)));
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[
            ("emails", 13),
            ("receipts", 13),
            ("mailbox_items where decision = 'recorded'", 13),
            ("mailbox_items where gone_at is not null", 12),
            ("alerts where kind = 'mailbox_emptied'", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_cycle_that_dies_between_reading_and_committing_says_no_quit_and_loses_nothing() {
    let drop = Maildrop::with(4).await;
    let (house, id) = drop.house(config()).await;
    let tenant = house.tenant().await;
    store::schedule::wish(&tenant, id, Workload::Incoming).await.unwrap();
    tenant.commit().await.unwrap();
    let mut cycle = house.claimed(id, Workload::Incoming).await.unwrap();
    // The claim goes to another one while the messages are read.
    let owner = house.database.owner().await.unwrap();
    drop.says(|line| (line == "RETR 4").then_some(Do::Stall));
    let running = tokio::time::timeout(Duration::from_secs(2), cycle.run(|| true)).await;
    assert!(running.is_err());
    assert_eq!(drop.heard("QUIT").len(), 0);
    owner.execute("update schedules set state = 'idle', session_id = null", &[]).await.unwrap();
    expect(&house, &[("emails", 0), ("mailbox_items", 0)]).await;
    drop.says(|_| None);
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails", 4), ("mailbox_items", 4)]).await;
    assert_eq!(drop.heard("QUIT").len(), 1);
}

#[tokio::test]
async fn the_floor_is_judged_by_pipelined_headers_and_nothing_old_is_retrieved() {
    let drop = Maildrop::with(0).await;
    let no_trace = String::from_utf8(plain(4)).unwrap();
    let no_trace = no_trace.split_once("Message-ID").unwrap().1;
    let no_trace = format!("Message-ID{no_trace}").replace("09:59:58", "13:00:00");
    let two_traces = format!(
        "Received: from b by c; Fri, 20 Nov 2026 14:00:00 +0000\r\n{}",
        String::from_utf8(plain(5)).unwrap()
    );
    drop.state().messages = vec![
        ("old".to_owned(), plain(1)),
        ("date alone, young".to_owned(), no_trace.into_bytes()),
        ("received again, young".to_owned(), two_traces.into_bytes()),
        ("older".to_owned(), plain(2)),
    ];
    let (house, id) = drop.house(config()).await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update mailboxes set process_email_received_after = '2026-11-20T12:00:00Z'", &[])
        .await
        .unwrap();
    house.cycle(id, Workload::Incoming).await;
    let heard = drop.heard_all();
    let wanted: Vec<&str> = heard
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("TOP") || line.starts_with("RETR"))
        .collect();
    assert_eq!(wanted, ["TOP 1 0", "TOP 2 0", "TOP 3 0", "TOP 4 0", "RETR 2", "RETR 3"]);
    expect(
        &house,
        &[
            ("emails", 2),
            ("blobs", 2),
            ("mailbox_items where decision = 'before_the_floor'", 2),
            ("mailbox_items where item_id like 'date%' and received_at = '2026-11-20T13:00:00Z'", 1),
            ("mailbox_items where item_id like 'received%' and received_at = '2026-11-20T14:00:00Z'", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_server_without_uidl_is_refused_at_test_time_with_reason_and_remedy() {
    let drop = Maildrop::with(3).await;
    drop.state().capabilities = "USER\r\n";
    drop.says(|line| (line == "UIDL").then(|| say("-ERR unknown command\r\n")));
    let (house, id) = drop.house(config()).await;
    let finding = test(&house, id).await;
    let failed = finding.failed.unwrap();
    assert_eq!(failed.failure.alert, AlertKind::UidlNotOffered);
    let step = finding.steps.last().unwrap();
    assert!(step.detail.contains("UIDL") && step.detail.contains("Switch UIDL on"), "{}", step.detail);
    // And where it stops being offered later, the cycle says the same.
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    let Outcome::Failed(failure) = ending.outcome else { panic!("{:?}", ending.outcome) };
    assert_eq!((failure.scope, failure.alert), (FailureScope::Mailbox, AlertKind::UidlNotOffered));
    expect(&house, &[("mailbox_items", 0), ("alerts where kind = 'uidl_not_offered'", 1)]).await;
}

#[tokio::test]
async fn how_long_a_server_keeps_mail_is_told_at_test_time() {
    let drop = Maildrop::with(1).await;
    for (expire, words) in [
        ("", None),
        ("EXPIRE NEVER\r\n", None),
        ("EXPIRE 30\r\n", Some("warning: the server deletes every message after 30 days")),
        ("EXPIRE 0\r\n", Some("warning: the server wants to delete what was read")),
    ] {
        let capabilities = format!("{}{expire}", crate::maildrop::USUAL);
        drop.state().capabilities = capabilities.leak();
        let (house, id) = drop.house(config()).await;
        let finding = test(&house, id).await;
        assert!(finding.failed.is_none());
        let told =
            finding.steps.iter().find(|step| step.name == "keeps mail").map(|step| step.detail.as_str());
        assert_eq!(told.is_some(), words.is_some(), "{expire}: {told:?}");
        assert!(told.unwrap_or_default().starts_with(words.unwrap_or_default()), "{expire}: {told:?}");
    }
    // To a queue that has its mail deleted it is what was wanted.
    let (house, id) = drop.queue(config()).await;
    let finding = test(&house, id).await;
    assert!(finding.said().starts_with("the server deletes what was read"), "{}", finding.said());
}

async fn test(house: &House, id: model::id::MailboxId) -> cycle::Finding {
    let tenant = house.tenant().await;
    let mailbox = mailbox::for_cycle(&tenant, id, Workload::Incoming).await.unwrap().unwrap();
    drop(tenant);
    let cycle::Parts { store, keys, mail, .. } = &house.parts;
    let keeper = cycle::access::Keeper { store, keys, mail, organization: house.organization };
    let by = store::change::Author::new(model::actor::Actor::Operator, "test");
    let taking = Taking { installation: model::clock::new_id(), force: false };
    cycle::test(&keeper, &mailbox, taking, &by).await.unwrap()
}

#[tokio::test]
async fn a_locked_maildrop_waits_and_is_told_and_forgotten_when_it_opens() {
    let drop = Maildrop::with(1).await;
    drop.says(|line| line.starts_with("PASS").then(|| say("-ERR [IN-USE] another session has it\r\n")));
    let (house, id) = drop.house(config()).await;
    let (ending, next) = house.cycle(id, Workload::Incoming).await;
    let Outcome::Failed(failure) = ending.outcome else { panic!("{:?}", ending.outcome) };
    assert_eq!((failure.scope, failure.alert), (FailureScope::Mailbox, AlertKind::MailboxLocked));
    assert_eq!((next.reason, next.failures), (DueReason::Retry, 1));
    expect(&house, &[("alerts where kind = 'mailbox_locked' and server_said like '%another session%'", 1)])
        .await;
    drop.says(|_| None);
    later(&house).await;
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails", 1), ("alerts where resolved_at is null", 0)]).await;
}

#[tokio::test]
async fn a_login_delay_that_is_announced_holds_back_even_what_is_wished_for() {
    let drop = Maildrop::with(1).await;
    drop.state().capabilities = "USER\r\nUIDL\r\nTOP\r\nLOGIN-DELAY 120\r\n";
    let (house, id) = drop.house(config()).await;
    let (_, next) = house.cycle(id, Workload::Incoming).await;
    assert_eq!((next.delay, next.reason), (Some(Duration::from_secs(300)), DueReason::Cadence));
    assert_eq!(
        (next.not_before, next.held_by),
        (Some(Duration::from_secs(120)), Some(DueReason::ServerAsked))
    );
    expect(&house, &[("schedules where not_before > now() and not_before_reason = 'server_asked'", 1)]).await;
    let tenant = house.tenant().await;
    store::schedule::wish(&tenant, id, Workload::Incoming).await.unwrap();
    tenant.commit().await.unwrap();
    assert!(house.claimed(id, Workload::Incoming).await.is_none());
    // A longer one than the cadence moves the next cycle; one beyond reason is cut to an hour.
    drop.state().capabilities = "USER\r\nUIDL\r\nTOP\r\nLOGIN-DELAY 90000 USER\r\n";
    later(&house).await;
    let (_, next) = house.cycle(id, Workload::Incoming).await;
    assert_eq!((next.delay, next.reason), (Some(Duration::from_secs(3600)), DueReason::ServerAsked));
}

#[tokio::test]
async fn a_login_delay_that_refuses_is_no_failure() {
    let drop = Maildrop::with(1).await;
    drop.state().capabilities = "USER\r\nUIDL\r\nTOP\r\nLOGIN-DELAY 900\r\n";
    drop.says(|line| line.starts_with("PASS").then(|| say("-ERR [LOGIN-DELAY] too soon\r\n")));
    let (house, id) = drop.house(config()).await;
    let (_, next) = house.cycle(id, Workload::Incoming).await;
    assert_eq!((next.reason, next.failures), (DueReason::ServerAsked, 0));
    assert!(next.not_before.unwrap() >= Duration::from_secs(900));
    expect(
        &house,
        &[
            ("alerts", 0),
            (
                "schedules where due_reason = 'server_asked' and not_before > now() + interval '890 seconds'",
                1,
            ),
        ],
    )
    .await;
}

//! Deleting on the server what is recorded here, and nothing else, whatever becomes of the session.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::id::MailboxId;
use model::workload::Workload;

use crate::house::{House, config};
use crate::maildrop::{Maildrop, USUAL, plain, received_at};
use crate::pop3::expect;
use crate::scripted::{Do, say};

fn left(drop: &Maildrop) -> Vec<String> {
    drop.state().messages.iter().map(|(uid, _)| uid.clone()).collect()
}

#[tokio::test]
async fn only_what_is_recorded_is_deleted_and_what_is_too_large_stays_unread() {
    let drop = Maildrop::with(5).await;
    drop.state().messages[1].1 = [&plain(2)[..], &b"0123456789\r\n".repeat(100_000)].concat();
    drop.state().messages[4].1 = plain(1);
    drop.says(|line| (line == "RETR 3").then(|| say("-ERR cannot read it\r\n")));
    let (house, id) = drop.queue(config()).await;
    house.takes_messages_up_to(1).await;
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    assert_eq!(left(&drop), ["a2", "a3"]);
    let heard = drop.heard_all();
    assert!(!heard.contains(&"RETR 2".to_owned()) && heard.contains(&"TOP 2 0".to_owned()), "{heard:?}");
    expect(&house, &[
        ("emails", 2),
        ("mailbox_items where decision = 'duplicate' and deleted_at is not null", 1),
        ("mailbox_items where decision = 'recorded' and deleted_at is not null", 2),
        ("mailbox_items where decision = 'too_large' and received_at is not null and delete_asked_at is null", 1),
        ("mailbox_items where decision = 'failed' and delete_asked_at is null", 1),
        ("mailbox_items where gone_at is not null", 3),
        ("alerts where kind = 'message_too_large'", 1),
        ("alerts where kind <> 'message_too_large'", 0),
    ])
    .await;
}

#[tokio::test]
async fn a_person_s_mailbox_is_never_deleted_from() {
    let drop = Maildrop::with(3).await;
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(left(&drop).len(), 3);
    assert!(!drop.heard_all().iter().any(|line| line.starts_with("DELE")));
    expect(&house, &[("mailbox_items where delete_asked_at is not null", 0)]).await;
}

#[tokio::test]
async fn a_deletion_is_asked_for_each_cycle_until_the_server_says_that_it_is_done() {
    let drop = Maildrop::with(3).await;
    drop.says(|line| (line == "QUIT").then(|| say("-ERR some deleted messages not removed\r\n")));
    let (house, id) = drop.queue(config()).await;
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[
            ("emails", 3),
            ("mailbox_items where delete_asked_at is not null and deleted_at is null and gone_at is null", 3),
        ],
    )
    .await;
    drop.says(|line| (line == "QUIT").then_some(Do::Break));
    // What came in between is deleted like the rest.
    drop.state().messages.push(("a4".to_owned(), plain(4)));
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("DELE").len(), 3 + 4);
    expect(&house, &[("emails", 4), ("mailbox_items where deleted_at is not null", 0)]).await;
    drop.says(|_| None);
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("DELE"), ["DELE 1", "DELE 2", "DELE 3", "DELE 4"]);
    assert!(left(&drop).is_empty());
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[
        ("emails", 4),
        ("mailbox_items where decision = 'recorded' and deleted_at > delete_asked_at and gone_at is not null", 4),
        ("alerts", 0),
    ])
    .await;
}

#[tokio::test]
async fn a_server_that_deletes_and_goes_before_it_says_so_is_believed_by_its_next_listing() {
    let drop = Maildrop::with(12).await;
    let (house, id) = drop.queue(config()).await;
    drop.says(|line| (line == "QUIT").then_some(Do::Break));
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("mailbox_items where deleted_at is not null", 0)]).await;
    // It had done it.
    drop.state().messages.clear();
    drop.says(|_| None);
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[("mailbox_items where deleted_at is not null and gone_at is not null", 12), ("alerts", 0)],
    )
    .await;
}

/// Starts a cycle and drops it as soon as it waits for an answer to this line.
async fn killed_at(drop: &Maildrop, house: &House, id: MailboxId, word: &'static str) {
    drop.says(move |line| line.starts_with(word).then_some(Do::Stall));
    let tenant = house.tenant().await;
    store::schedule::wish(&tenant, id, Workload::Incoming).await.unwrap();
    tenant.commit().await.unwrap();
    let mut cycle = house.claimed(id, Workload::Incoming).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(3), cycle.run(|| true)).await.is_err());
    let owner = house.database.owner().await.unwrap();
    owner.execute("update schedules set state = 'idle', session_id = null", &[]).await.unwrap();
    drop.says(|_| None);
}

#[tokio::test]
async fn a_worker_killed_between_its_commit_and_quit_has_its_deletions_repeated() {
    let drop = Maildrop::with(3).await;
    let (house, id) = drop.queue(config()).await;
    for word in ["DELE", "QUIT"] {
        killed_at(&drop, &house, id, word).await;
        assert_eq!(left(&drop).len(), 3);
        expect(
            &house,
            &[("emails", 3), ("mailbox_items where delete_asked_at is not null and deleted_at is null", 3)],
        )
        .await;
    }
    house.cycle(id, Workload::Incoming).await;
    assert!(left(&drop).is_empty());
    expect(&house, &[("emails", 3), ("mailbox_items where deleted_at is not null", 3)]).await;
}

#[tokio::test]
async fn a_message_that_has_the_name_of_a_deleted_one_is_read_before_it_is_deleted() {
    let drop = Maildrop::with(2).await;
    let (house, id) = drop.queue(config()).await;
    house.cycle(id, Workload::Incoming).await;
    assert!(left(&drop).is_empty());
    // RFC 1939 section 7: the name lasts as long as its message. This one has its size as well.
    drop.state().messages.push(("a1".to_owned(), received_at(7, "10:00:07")));
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails", 3)]).await;
    assert!(left(&drop).is_empty());
    // The same while nobody knows whether the first was deleted: it is read in one cycle and deleted in it or the next.
    drop.state().messages.push(("b1".to_owned(), plain(8)));
    drop.says(|line| (line == "QUIT").then_some(Do::Break));
    house.cycle(id, Workload::Incoming).await;
    drop.says(|_| None);
    drop.state().messages = vec![("b1".to_owned(), received_at(9, "10:00:09"))];
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    expect(&house, &[("emails", 5), ("emails where subject = 'Message 9'", 1)]).await;
    assert!(left(&drop).is_empty());
}

#[tokio::test]
async fn what_has_no_record_any_more_is_not_deleted() {
    let drop = Maildrop::with(2).await;
    let (house, id) = drop.queue(config()).await;
    drop.says(|line| (line == "QUIT").then_some(Do::Break));
    house.cycle(id, Workload::Incoming).await;
    let owner = house.database.owner().await.unwrap();
    owner.execute("delete from emails where subject = 'Message 1'", &[]).await.unwrap();
    drop.says(|_| None);
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(left(&drop), ["a1"]);
}

#[tokio::test]
async fn a_server_without_top_has_old_mail_read_again_before_it_is_deleted() {
    let drop = Maildrop::with(2).await;
    drop.state().capabilities = "USER\r\nUIDL\r\n";
    let (house, id) = drop.queue(config()).await;
    drop.says(|line| (line == "QUIT").then_some(Do::Break));
    house.cycle(id, Workload::Incoming).await;
    drop.says(|_| None);
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    assert!(left(&drop).is_empty());
    expect(&house, &[("emails", 2), ("receipts", 2)]).await;
}

#[tokio::test]
async fn a_server_that_keeps_no_mail_hears_no_quit_unless_everything_read_may_go() {
    let expires: &'static str = Box::leak(format!("{USUAL}EXPIRE 0\r\n").into_boxed_str());
    // Whether QUIT was heard, for a person's mailbox, a queue's with a message that fails, and one without.
    let quits = Arc::new(Mutex::new(Vec::new()));
    for (queue, fails) in [(false, false), (true, true), (true, false)] {
        let drop = Maildrop::with(3).await;
        drop.state().capabilities = expires;
        drop.says(move |line| (fails && line == "RETR 2").then(|| say("-ERR not now\r\n")));
        let (house, id) = if queue { drop.queue(config()).await } else { drop.house(config()).await };
        house.cycle(id, Workload::Incoming).await;
        quits.lock().unwrap().push(drop.heard("QUIT").len());
        expect(&house, &[("emails", if fails { 2 } else { 3 })]).await;
        if queue && fails {
            assert_eq!(left(&drop).len(), 3);
            // What was recorded goes in a session that retrieves nothing.
            house.cycle(id, Workload::Incoming).await;
            assert_eq!(left(&drop), ["a2"]);
        }
    }
    assert_eq!(*quits.lock().unwrap(), [0, 0, 1]);
}

//! Mail from Dovecot into the records.

use cycle::Config;
use model::cadence::Outcome;
use model::workload::Workload;
use store::{mailbox, schedule};

use crate::house::{House, by, config, message};

fn items(ending: &cycle::Ending) -> u32 {
    match ending.outcome {
        Outcome::Done { items, .. } => items,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_new_is_recorded_once_and_what_was_seen_is_not_fetched_again() {
    let house = House::build().await;
    let (_, id, address) = house.person("anna").await;
    for number in 0..250 {
        house.servers.deliver(&address, &message(number, &address));
    }
    let (ending, next) = house.cycle(id, Workload::Incoming).await;
    assert_eq!(items(&ending), 250);
    assert_eq!(next.delay.unwrap().as_secs(), 300);
    for (what, expected) in [
        ("emails", 250),
        ("receipts", 250),
        ("mailbox_items where decision = 'recorded'", 250),
        ("cursors", 1),
    ] {
        assert_eq!(house.count(what).await, expected, "{what}");
    }
    let (again, next) = house.cycle(id, Workload::Incoming).await;
    assert_eq!(items(&again), 0);
    assert_eq!(next.quiet_cycles, 1);
    house.servers.deliver(&address, &message(999, &address));
    assert_eq!(items(&house.cycle(id, Workload::Incoming).await.0), 1);
    assert_eq!(house.count("emails").await, 251);
}

#[tokio::test]
async fn a_cycle_stops_at_its_caps_and_the_rest_is_due_at_once() {
    let mut config = config();
    (config.max_items, config.batch_items) = (30, 12);
    let house = House::with(config, |_| {}).await;
    let (_, id, address) = house.person("bert").await;
    for number in 0..70 {
        house.servers.deliver(&address, &message(number, &address));
    }
    for expected in [30, 60, 70] {
        let (_, next) = house.cycle(id, Workload::Incoming).await;
        assert_eq!(house.count("emails").await, expected);
        assert_eq!(next.delay.unwrap().is_zero(), expected < 70);
    }
}

#[tokio::test]
async fn a_claim_that_went_to_another_writes_nothing_more() {
    let house = House::build().await;
    let (_, id, address) = house.person("carl").await;
    house.servers.deliver(&address, &message(1, &address));
    let mut cycle = house.claimed(id, Workload::Incoming).await.unwrap();
    let tenant = house.tenant().await;
    mailbox::disable(&tenant, id, Workload::Incoming, None, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    assert!(cycle.run(|| true).await.is_none());
    let idle = cycle.finish(&cycle::Ending::idle()).await;
    assert!(matches!(idle, Err(store::Error::Fenced)), "{idle:?}");
    assert_eq!(house.count("emails").await, 0);
}

#[tokio::test]
async fn the_same_delivery_handled_twice_changes_nothing() {
    let house = House::build().await;
    let (_, id, address) = house.person("dora").await;
    house.servers.deliver(&address, &message(1, &address));
    let mut cycle = house.claimed(id, Workload::Incoming).await.unwrap();
    let claim = {
        let owner = house.database.owner().await.unwrap();
        let row = owner
            .query_one(
                "select claim from schedules where mailbox_id = $1 and workload = 'incoming'",
                &[&id.0],
            )
            .await
            .unwrap();
        schedule::Claim { mailbox: id, workload: Workload::Incoming, number: row.get(0) }
    };
    assert!(house.taken(claim).await.is_none(), "a second claim of the same cycle gets nothing");
    let ending = cycle.run(|| true).await.unwrap();
    cycle.finish(&ending).await.unwrap();
    assert!(house.taken(claim).await.is_none(), "nor does one after it ended");
    assert_eq!(house.count("emails").await, 1);
}

#[tokio::test]
async fn mail_older_than_the_floor_is_decided_from_its_header_and_no_content_is_stored() {
    let house = House::build().await;
    let (_, id, address) = house.person("emil").await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update mailboxes set process_email_received_after = '2026-11-20T12:00:00Z'", &[])
        .await
        .unwrap();
    for number in 0..5 {
        house.servers.deliver(&address, &message(number, &address));
    }
    let young = String::from_utf8(message(9, &address)).unwrap().replace("10:00:00", "12:00:01");
    house.servers.deliver(&address, young.as_bytes());
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 1);
    assert_eq!(
        house.count("mailbox_items where decision = 'before_the_floor' and email_id is null").await,
        5
    );
    assert_eq!(house.count("blobs").await, 1);
}

#[tokio::test]
async fn mail_older_than_the_floor_is_found_wherever_it_stands_among_the_young() {
    let house = House::with(Config { batch_items: 2, ..config() }, |_| {}).await;
    let (_, id, address) = house.person("egon").await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update mailboxes set process_email_received_after = '2026-11-20T12:00:00Z'", &[])
        .await
        .unwrap();
    // Batches of two: the second comes after one without any old mail, the third and fourth after one with some.
    for (number, old) in [false, false, true, false, true, true, false, true].into_iter().enumerate() {
        let hour = if old { "10:00:00" } else { "12:00:01" };
        let text = String::from_utf8(message(number, &address)).unwrap().replace("10:00:00", hour);
        house.servers.deliver(&address, text.as_bytes());
    }
    house.cycle(id, Workload::Incoming).await;
    for (what, expected) in [
        ("emails", 4),
        ("mailbox_items where decision = 'recorded'", 4),
        ("mailbox_items where decision = 'before_the_floor' and email_id is null", 4),
        ("blobs", 4),
    ] {
        assert_eq!(house.count(what).await, expected, "{what}");
    }
}

#[tokio::test]
async fn one_message_in_two_mailboxes_is_one_record_with_two_receipts() {
    let house = House::build().await;
    let (_, first, to_first) = house.person("fritz").await;
    let (_, second, to_second) = house.person("gerda").await;
    let raw = message(1, "both@example.org");
    house.servers.deliver(&to_first, &raw);
    house.servers.deliver(&to_second, &raw);
    for id in [first, second] {
        house.cycle(id, Workload::Incoming).await;
    }
    assert_eq!((house.count("emails").await, house.count("receipts").await), (1, 2));
}

#[tokio::test]
async fn what_cannot_be_parsed_or_is_too_large_holds_up_nothing() {
    let house = House::build().await;
    let (_, id, address) = house.person("hanna").await;
    house.takes_messages_up_to(1).await;
    let mut large = message(1, &address);
    large.extend(b"0123456789012345678901234567890123456789\r\n".repeat(40_000));
    house.servers.deliver(&address, &large);
    house.servers.deliver(&address, b"\0\0\0 no message at all");
    house.servers.deliver(&address, &message(2, &address));
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert_eq!(items(&ending), 3);
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("mailbox_items where decision = 'too_large'").await, 1);
    assert_eq!(house.count("alerts where kind = 'message_too_large'").await, 1);
    assert_eq!(house.count("alerts where kind = 'message_unparsable' and email_id is not null").await, 1);
}

#[tokio::test]
async fn a_large_message_is_streamed_into_its_chunks() {
    let house = House::build().await;
    let (_, id, address) = house.person("ida").await;
    house.takes_messages_up_to(100).await;
    let owner = house.database.owner().await.unwrap();
    let mut large = message(1, &address);
    large.extend(b"0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(600_000));
    house.servers.deliver(&address, &large);
    house.cycle(id, Workload::Incoming).await;
    let row = owner
        .query_one(
            "select (select subject from emails), (select sum(length(data)) from blob_chunks), (select max(length(data)) from blob_chunks)",
            &[],
        )
        .await
        .unwrap();
    let (subject, stored, longest): (String, i64, i32) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((subject.as_str(), stored), ("Message 1", i64::try_from(large.len()).unwrap()));
    assert!(longest <= 1024 * 1024);
}

#[tokio::test]
async fn of_a_large_message_that_is_not_accepted_nothing_is_stored_and_two_copies_share_their_content() {
    let house = House::build().await;
    house.takes_messages_up_to(100).await;
    let owner = house.database.owner().await.unwrap();
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let mut large = message(1, &anna.2);
    large.extend(b"0123456789012345678901234567890123456789012345678901234567890123\r\n".repeat(500_000));
    owner.execute("update mailboxes set acceptance = 'none' where id = $1", &[&anna.1.0]).await.unwrap();
    house.servers.deliver(&anna.2, &large);
    house.cycle(anna.1, Workload::Incoming).await;
    assert_eq!(house.count("mailbox_items where decision = 'not_accepted'").await, 1);
    assert_eq!((house.count("blobs").await, house.count("blob_chunks").await), (0, 0));

    owner.execute("update mailboxes set acceptance = 'all'", &[]).await.unwrap();
    owner.execute("delete from mailbox_items", &[]).await.unwrap();
    house.cycle(anna.1, Workload::Incoming).await;
    let stored = house.count("blob_chunks").await;
    assert!(stored >= 32, "{stored}");
    // The other's way is in the header alone.
    house.servers.deliver(&bert.2, &[format!("Delivered-To: {}\r\n", bert.2).as_bytes(), &large].concat());
    house.cycle(bert.1, Workload::Incoming).await;
    assert_eq!((house.count("emails").await, house.count("email_copies").await), (1, 1));
    assert_eq!((house.count("receipts").await, house.count("blob_chunks").await), (2, stored));
}

#[tokio::test]
async fn a_queue_that_asks_for_it_has_recorded_mail_deleted_on_the_server() {
    let house = House::build().await;
    let (_, id, address) = house.person("jan").await;
    for number in 0..12 {
        house.servers.deliver(&address, &message(number, &address));
    }
    house.give_to_a_queue_that_deletes(id).await;
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 12);
    assert!(house.servers.messages(&address).is_empty());
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("mailbox_items where gone_at is not null").await, 12);
    assert_eq!(house.count("alerts").await, 0, "what we deleted did not vanish");
}

#[tokio::test]
async fn a_mailbox_restored_from_a_backup_has_new_names_and_no_new_records() {
    let house = House::build().await;
    let (_, id, address) = house.person("karl").await;
    for number in 0..30 {
        house.servers.deliver(&address, &message(number, &address));
    }
    house.cycle(id, Workload::Incoming).await;
    // Dovecot names messages by their files here.
    let messages = house.servers.messages(&address);
    house.servers.remove_mailbox(&address);
    house.servers.add_mailbox(&address, "correct horse");
    for message in &messages {
        house.servers.deliver(&address, message);
    }
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    for (what, expected) in [
        ("emails", 30),
        ("receipts", 30),
        ("mailbox_items where decision = 'recorded' and gone_at is not null", 30),
        ("mailbox_items where decision = 'duplicate' and gone_at is null", 30),
        ("alerts where kind = 'mailbox_emptied'", 1),
    ] {
        assert_eq!(house.count(what).await, expected, "{what}");
    }
}

//! Folders beside the inbox: found by their names once, read in turn, and told of when they cannot be.

use ::exchange::{Fault as Broken, Rule};
use cycle::Config;
use model::alert::AlertKind;
use store::folder;

use super::ExchangeEws;
use crate::house::{House, Person, by, config, message};

type Here = House<ExchangeEws>;

async fn choose(house: &Here, of: &Person, paths: &[&str]) {
    let tenant = house.tenant().await;
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    folder::choose(&tenant, of.mailbox, None, &paths, &by()).await.unwrap();
    tenant.commit().await.unwrap();
}

/// Puts so many messages into a folder, numbered from `first`.
fn put(house: &Here, of: &Person, folder: &str, first: usize, count: usize) {
    for number in first..first + count {
        let raw = message(number, &of.address);
        house.provider.server().put(
            &of.address,
            folder,
            &raw,
            "2026-11-20T10:00:00Z".parse().unwrap(),
            false,
        );
    }
}

async fn open_alerts(house: &Here) -> i64 {
    let kind = AlertKind::FolderNotRead;
    house.count(&format!("alerts where kind = '{kind}' and resolved_at is null")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_alone_is_read_until_other_folders_are_chosen() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    server.add_folder(&anna.address, "Archive");
    server.add_folder_in(&anna.address, "inbox", "Support");
    put(&house, &anna, "inbox", 0, 1);
    put(&house, &anna, "Archive", 10, 2);
    put(&house, &anna, "Inbox/Support", 20, 3);
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.receive(&anna).await, 0);

    choose(&house, &anna, &["archive", "Inbox/Support"]).await;
    assert_eq!(house.receive(&anna).await, 5);
    assert_eq!((house.count("emails").await, house.count("receipts").await), (6, 6));
    assert_eq!(house.count("cursors where workload = 'incoming'").await, 3, "each has a cursor of its own");
    put(&house, &anna, "Inbox/Support", 30, 1);
    assert_eq!(house.receive(&anna).await, 1);

    // Renamed it is the same folder, and what is in it is known.
    let read = server.count("GetItem");
    server.rename_folder(&anna.address, "Archive", "Old things");
    house.execute("update mailbox_hierarchies set tried_at = '-infinity'").await;
    put(&house, &anna, "Old things", 40, 1);
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(server.count("GetItem") - read, 1);
    assert_eq!(house.count("mailbox_folders where name = 'Old things' and gone_at is null").await, 1);
    assert_eq!(open_alerts(&house).await, 0);

    // Chosen no longer.
    choose(&house, &anna, &[]).await;
    put(&house, &anna, "Old things", 50, 1);
    assert_eq!(house.receive(&anna).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_between_two_folders_that_are_read_makes_no_second_record_and_no_second_receipt() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    server.add_folder(&anna.address, "Archive");
    choose(&house, &anna, &["Archive"]).await;
    put(&house, &anna, "inbox", 0, 2);
    put(&house, &anna, "Archive", 10, 2);
    assert_eq!(house.receive(&anna).await, 4);
    let read = server.count("GetItem");
    // Out of the inbox: it is heard first that it left.
    server.relocate(&server.folder(&anna.address, "inbox")[0].id, "Archive");
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(server.count("GetItem"), read, "nothing was read again");
    // Into the inbox: it is heard first that it came, beside what may be its original. It is read, and is what it was.
    server.relocate(&server.folder(&anna.address, "Archive")[0].id, "inbox");
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!((house.count("emails").await, house.count("receipts").await), (4, 4));
    assert_eq!(house.count("mailbox_items where gone_at is null").await, 4);
    // Out of a folder that is read no longer, of which nobody hears what leaves it.
    let read = server.count("GetItem");
    choose(&house, &anna, &[]).await;
    server.relocate(&server.folder(&anna.address, "Archive")[0].id, "inbox");
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(server.count("GetItem"), read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_told_of_and_holds_up_nobody() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    server.add_folder(&anna.address, "Archive");
    choose(&house, &anna, &["Archive", "Elsewhere"]).await;
    put(&house, &anna, "Archive", 10, 1);
    put(&house, &anna, "inbox", 0, 1);
    assert_eq!(house.receive(&anna).await, 2);
    assert_eq!(open_alerts(&house).await, 1, "there is no such folder");

    // Deleted while it is read: by the server's word, before the folders are listed again.
    server.remove_folder(&anna.address, "Archive");
    put(&house, &anna, "inbox", 1, 1);
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(open_alerts(&house).await, 2);
    assert_eq!(house.count("read_folders where problem = 'deleted'").await, 1);
    assert_eq!(house.count("emails").await, 3, "what came of it stays");
    house.assert_enabled().await;

    // There is one of that name again, and it is found within the hour.
    server.add_folder(&anna.address, "Archive");
    put(&house, &anna, "Archive", 11, 1);
    assert_eq!(house.receive(&anna).await, 0);
    house.later().await;
    house.later().await;
    house.execute("update mailbox_hierarchies set tried_at = tried_at - interval '1 hour'").await;
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(open_alerts(&house).await, 1);
    // Thrown away is as good as deleted.
    server.move_folder(&anna.address, "Archive", "deleteditems");
    house.execute("update mailbox_hierarchies set tried_at = '-infinity'").await;
    house.receive(&anna).await;
    assert_eq!(open_alerts(&house).await, 2);
    choose(&house, &anna, &[]).await;
    assert_eq!(open_alerts(&house).await, 0, "nobody wants them any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_folder_holds_up_neither_the_inbox_nor_the_others() {
    let house = Here::with(Config { max_items: 30, batch_items: 10, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    for name in ["Large", "Small"] {
        server.add_folder(&anna.address, name);
    }
    choose(&house, &anna, &["Large", "Small"]).await;
    house.receive(&anna).await;
    put(&house, &anna, "Large", 1000, 100);
    put(&house, &anna, "Small", 10, 3);
    put(&house, &anna, "inbox", 0, 3);
    assert_eq!(house.receive(&anna).await, 30, "the cycle's caps are what they were");
    for (first, count) in [(0, 3), (10, 3)] {
        let numbers: Vec<String> =
            (first..first + count).map(|n| format!("'{n}.{}'", anna.address)).collect();
        let of = format!("emails where message_id in ({})", numbers.join(","));
        assert_eq!(house.count(&of).await, count, "those of {first} are in");
    }
    let mut cycles = 0;
    while house.count("emails").await < 106 {
        house.receive(&anna).await;
        cycles += 1;
        assert!(cycles < 10, "it goes on");
    }
    assert!(cycles <= 4, "what one leaves is for the others: {cycles}");
    assert_eq!(house.receive(&anna).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_are_asked_for_once_an_hour_and_what_comes_of_it_fails_nobody() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    put(&house, &anna, "inbox", 0, 1);
    for _ in 0..4 {
        house.receive(&anna).await;
    }
    assert_eq!(server.count("SyncFolderHierarchy"), 1);
    assert!(house.count("mailbox_folders where gone_at is null").await > 5);
    assert_eq!(house.count("mailbox_folders where role = 'inbox' and name = 'Inbox'").await, 1);

    // Changes alone the next time.
    server.add_folder(&anna.address, "New");
    house.execute("update mailbox_hierarchies set tried_at = tried_at - interval '61 minutes'").await;
    house.receive(&anna).await;
    assert_eq!(house.count("mailbox_folders where name = 'New'").await, 1);
    server.remove_folder(&anna.address, "New");
    // A state that is forgotten means all of them.
    server.fault(Rule::new(Broken::SyncStateInvalid).on("SyncFolderHierarchy").times(1));
    house.execute("update mailbox_hierarchies set tried_at = tried_at - interval '61 minutes'").await;
    house.receive(&anna).await;
    assert_eq!(house.count("mailbox_folders where name = 'New' and gone_at is not null").await, 1);

    for fault in [Broken::Status(500, None), Broken::Truncated, Broken::DropMidway] {
        server.fault(Rule::new(fault.clone()).on("SyncFolderHierarchy"));
        house.execute("update mailbox_hierarchies set tried_at = tried_at - interval '61 minutes'").await;
        put(&house, &anna, "inbox", 0, 1);
        house.receive(&anna).await;
        let asked = server.count("SyncFolderHierarchy");
        house.receive(&anna).await;
        assert_eq!(server.count("SyncFolderHierarchy"), asked, "{fault:?} is not asked for with each poll");
        server.heal();
    }
    house.assert_recovered().await;
}

//! Items that move: recognised as what they were, without being read again, and never at the price of a message.

use ::exchange::{Fault as Broken, Rule};

use super::ExchangeEws;
use crate::house::{House, message};
use crate::provider::Provider as _;

type Here = House<ExchangeEws>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_moves_away_and_back_keeps_its_row_and_is_not_read_again() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    for number in 0..3 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    assert_eq!(house.receive(&anna).await, 3);
    let there = server.folder(&anna.address, "inbox");
    let read = server.count("GetItem");
    // Seen to leave, and back in another cycle.
    let away = server.relocate(&there[0].id, "junkemail");
    house.receive(&anna).await;
    assert_eq!(house.count("mailbox_items where gone_at is not null").await, 1);
    server.relocate(&away, "inbox");
    // Away and back between two cycles.
    let away = server.relocate(&there[1].id, "junkemail");
    server.relocate(&away, "inbox");
    assert_eq!(house.receive(&anna).await, 0, "there is nothing to decide");
    assert_eq!(server.count("GetItem"), read, "nothing was read again");
    assert_eq!((house.count("emails").await, house.count("receipts").await), (3, 3));
    assert_eq!(house.count("mailbox_items where decision = 'recorded' and gone_at is null").await, 3);
    assert_eq!(house.count("mailbox_items").await, 3, "one row for each");

    // The state is lost: what moved is known by its new name.
    server.fault(Rule::new(Broken::SyncStateInvalid).on("SyncFolderItems").times(1));
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(server.count("GetItem"), read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_removed_here_does_not_come_back_because_it_moves_there() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    house.execute("delete from emails").await;
    let away = server.relocate(&server.folder(&anna.address, "inbox")[0].id, "junkemail");
    house.receive(&anna).await;
    server.relocate(&away, "inbox");
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(house.count("emails").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_beside_its_original_and_a_message_that_only_borrows_an_id_are_read() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    let original = server.folder(&anna.address, "inbox")[0].clone();

    // The same key, and the original is still there.
    let another = message(2, &anna.address);
    let id = server.put(&anna.address, "inbox", &another, original.received, false);
    server.set_search_key(&id, &original.search_key);
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("emails").await, 2, "the copy stands beside its original: it was read");

    // The original leaves, and something with its Message-ID comes: another message all the same.
    server.remove(&original.id);
    let text = String::from_utf8(message(1, &anna.address)).unwrap();
    let forged =
        text.replace("Body 1", "Pay 1 to another account").replace("Subject: Message 1", "Subject: Pay");
    server.put(&anna.address, "inbox", forged.as_bytes(), original.received, false);
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("emails").await, 3, "a Message-ID proves nothing");

    // Delivered twice: read twice, and one email.
    house.provider.deliver(&anna.address, &message(4, &anna.address));
    house.provider.deliver(&anna.address, &message(4, &anna.address));
    assert_eq!(house.receive(&anna).await, 2);
    assert_eq!(house.count("emails").await, 4);
    assert_eq!(house.count("mailbox_items where decision = 'duplicate'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_comes_back_with_another_message_is_not_what_it_was() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    let original = server.folder(&anna.address, "inbox")[0].clone();
    server.remove(&original.id);
    house.receive(&anna).await;
    // Whoever could choose a key chooses that of a message that is gone.
    for (number, received) in [(2, original.received), (1, model::clock::now())] {
        let mail = String::from_utf8(message(number, &anna.address)).unwrap().replace("Body", "Another body");
        let id = server.put(&anna.address, "inbox", mail.as_bytes(), received, false);
        server.set_search_key(&id, &original.search_key);
    }
    assert_eq!(house.receive(&anna).await, 2, "both were read");
    assert_eq!((house.count("emails").await, house.count("email_copies").await), (2, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_search_keys_id_size_and_time_together_are_the_item() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    // As rows of a server that says none, or from before they were kept.
    house.execute("update mailbox_items set search_key = null").await;
    let read = server.count("GetItem");
    let away = server.relocate(&server.folder(&anna.address, "inbox")[0].id, "junkemail");
    server.relocate(&away, "inbox");
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(server.count("GetItem"), read);
    assert_eq!(house.count("mailbox_items where search_key is not null").await, 1, "it is known from now on");

    // Of another size, or received at another time, it is read.
    house.execute("update mailbox_items set search_key = null, size = size + 1").await;
    let away = server.relocate(&server.folder(&anna.address, "inbox")[0].id, "junkemail");
    server.relocate(&away, "inbox");
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!((house.count("emails").await, house.count("receipts").await), (1, 1));
}

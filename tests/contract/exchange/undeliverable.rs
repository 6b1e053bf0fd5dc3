//! What was given up goes to the folder that the profile names for it: once, after it was decided, and at nobody's cost.

use ::exchange::{Fault as Broken, Rule};
use model::alert::AlertKind;
use model::workload::Workload;
use store::folder;

use super::ExchangeEws;
use crate::house::{House, Person, by, config, message};
use crate::provider::Provider as _;

type Here = House<ExchangeEws>;

const FOLDER: &str = "Not recorded";

async fn built() -> (Here, Person) {
    let house = Here::with(config(), |profile| profile.undeliverable_folder = Some(FOLDER.to_owned())).await;
    let anna = house.person("anna").await;
    (house, anna)
}

/// One message that is recorded and one that the server gives five times not.
async fn given_up(house: &Here, anna: &Person) {
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(anna).await, 1);
    house.provider.deliver(&anna.address, &message(2, &anna.address));
    server.fault(Rule::new(Broken::RefusedMessage("ErrorContentConversionFailed".to_owned())).on("GetItem"));
    for tried in 1..=5 {
        assert_eq!(server.count("MoveItem"), 0, "it is not given up after {tried} tries");
        house.cycle(anna, Workload::Incoming).await;
        house.execute("update mailbox_items set next_try_at = now() where decision = 'failed'").await;
    }
    server.heal();
    assert_eq!(house.count("mailbox_items where decision = 'undeliverable'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_is_moved_once_to_a_folder_that_is_made_for_it() {
    let (house, anna) = built().await;
    let server = house.provider.server();
    given_up(&house, &anna).await;
    assert_eq!(server.folder(&anna.address, FOLDER).len(), 1);
    assert_eq!(server.folder(&anna.address, "inbox").len(), 1, "what is recorded stays");
    for _ in 0..3 {
        house.receive(&anna).await;
    }
    assert_eq!((server.count("MoveItem"), server.count("CreateFolder")), (1, 1));
    assert_eq!(house.count("mailbox_items where moved_at is not null and gone_at is not null").await, 1);
    house.assert_enabled().await;

    // That folder is never read, whoever asks for it.
    let tenant = house.tenant().await;
    folder::choose(&tenant, anna.mailbox, None, &[FOLDER.to_owned()], &by()).await.unwrap();
    tenant.commit().await.unwrap();
    house.receive(&anna).await;
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(server.count("MoveItem"), 1);

    // Moved back by its owner it is tried anew, and its alert passes.
    let open = format!("alerts where kind = '{}' and resolved_at is null", AlertKind::MessageUndeliverable);
    assert_eq!(house.count(&open).await, 1);
    server.relocate(&server.folder(&anna.address, FOLDER)[0].id, "inbox");
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count(&open).await, 0);
    assert_eq!(server.count("MoveItem"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_fails_counts_on_the_item_and_fails_no_cycle() {
    let (house, anna) = built().await;
    let server = house.provider.server();
    server.fault(Rule::new(Broken::RefusedMessage("ErrorMoveCopyFailed".to_owned())).on("MoveItem"));
    server
        .fault(Rule::new(Broken::RefusedMessage("ErrorAccessDenied".to_owned())).on("CreateFolder").times(2));
    given_up(&house, &anna).await;
    for _ in 0..8 {
        server.fault(Rule::new(Broken::RefusedMessage("ErrorMoveCopyFailed".to_owned())).on("MoveItem"));
        house.receive(&anna).await;
        server.heal();
    }
    assert_eq!(house.count("mailbox_items where move_attempts = 5 and move_error is not null").await, 1);
    assert_eq!(server.folder(&anna.address, "inbox").len(), 2, "it stays where it is");
    house.assert_enabled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cycle_that_dies_between_move_and_word_moves_nothing_twice() {
    let (house, anna) = built().await;
    let server = house.provider.server();
    given_up(&house, &anna).await;
    // As after a death: moved there, and not written down here.
    house
        .execute("update mailbox_items set moved_at = null, gone_at = null where moved_at is not null")
        .await;
    house.receive(&anna).await;
    house.receive(&anna).await;
    assert_eq!(server.folder(&anna.address, FOLDER).len(), 1, "nothing was moved twice");
    assert_eq!(house.count("mailbox_items where gone_at is not null").await, 1);
}

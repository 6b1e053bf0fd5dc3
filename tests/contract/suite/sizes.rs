//! Sizes: from next to nothing to more than fits into memory, and both limits to the byte.

use cycle::Config;
use model::email::EmailState;
use model::message::OutgoingAttachment;
use model::workload::Workload;
use sha2::{Digest as _, Sha256};
use store::outgoing::Draft;

use crate::house::{House, config, message, to};
use crate::provider::Provider;

const MEGABYTE: usize = 1024 * 1024;

/// A message of exactly so many bytes, in lines, with CRLF line ends.
fn of_size(number: usize, to: &str, size: usize) -> Vec<u8> {
    let mut raw = message(number, to);
    let line = [&[b'x'; 70][..], b"\r\n"].concat();
    while raw.len() + 2 * line.len() <= size {
        raw.extend_from_slice(&line);
    }
    let rest = size - raw.len() - 2;
    raw.extend(std::iter::repeat_n(b'y', rest));
    raw.extend_from_slice(b"\r\n");
    assert_eq!(raw.len(), size);
    raw
}

fn file(bytes: usize) -> OutgoingAttachment {
    OutgoingAttachment {
        name: "large.bin".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        bytes: vec![7; bytes].into(),
        inline_id: None,
    }
}

pub(crate) async fn a_message_of_one_byte_and_one_without_a_body_are_messages<P: Provider>() {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    let headers = message(1, &anna.address);
    let end = headers.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    house.provider.deliver(&anna.address, b"x");
    house.provider.deliver(&anna.address, &headers[..end + 4]);
    house.provider.deliver(&anna.address, &message(2, &anna.address));
    assert_eq!(house.receive(&anna).await, 3);
    assert_eq!(house.count("emails").await, 3);
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 3);
    assert_eq!(house.count("email_copies where raw_sha256 is not null").await, 3, "each is kept raw");
}

pub(crate) async fn a_message_of_exactly_the_limit_comes_in_and_one_byte_more_does_not<P: Provider>() {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    house.set("max_message_mb", 1).await;
    house.provider.deliver(&anna.address, &of_size(1, &anna.address, MEGABYTE));
    house.provider.deliver(&anna.address, &of_size(2, &anna.address, MEGABYTE + 1));
    house.provider.deliver(&anna.address, &message(3, &anna.address));
    assert_eq!(house.receive(&anna).await, 3);
    assert_eq!(house.count(&format!("blobs where size = {MEGABYTE}")).await, 1);
    assert_eq!(house.count("emails where subject = 'Message 2'").await, 0);
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("mailbox_items where decision = 'too_large'").await, 1);
    assert_eq!(house.count("alerts where kind = 'message_too_large' and resolved_at is null").await, 1);
    assert_eq!(house.provider.holds(&anna.address).len(), 3, "and is left where it is");
}

pub(crate) async fn a_message_of_forty_megabytes_is_streamed_and_kept_to_the_byte<P: Provider>() {
    // Less memory than the message has bytes.
    let house = House::<P>::with(Config { memory_mb: 20, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    house.set("max_message_mb", 100).await;
    let raw = of_size(1, &anna.address, 40_000_000);
    house.provider.deliver(&anna.address, &raw);
    house.provider.deliver(&anna.address, &message(2, &anna.address));
    while house.count("emails").await < 2 {
        house.receive(&anna).await;
    }
    let owner = house.database.owner().await.unwrap();
    let row =
        owner.query_one("select sha256, size from blobs order by size desc limit 1", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(1), row.get::<_, Vec<u8>>(0)), (40_000_000, Sha256::digest(&raw).to_vec()));
    assert_eq!(house.count("blob_chunks where length(data) > 1048576").await, 0, "in chunks of a mebibyte");
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 2);
}

pub(crate) async fn a_mail_larger_than_the_server_takes_fails_with_the_reason_and_holds_up_nobody<
    P: Provider,
>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    house.set("max_message_mb", 100).await;
    let large = Draft { to: to(&people[1].address), ..Draft::default() };
    let large = house.ask_with(&people[0], large, &[file(house.provider.size_limit() * 4 / 5)]).await;
    let small = house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    for _ in 0..2 {
        house.transmit(&people[0]).await;
    }
    assert_eq!(house.state(large).await, EmailState::Failed);
    assert_eq!(house.state(small).await, EmailState::Sent);
    assert_eq!(house.arrived(&people[1].address, 1).await.len(), 1);
    let told = format!("alerts where kind = 'message_refused' and email_id = '{}'", large.0);
    assert_eq!(house.count(&told).await, 1);
    house.assert_recovered().await;
}

pub(crate) async fn a_mail_larger_than_our_own_limit_is_never_offered<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    let email = Draft { to: to(&people[1].address), ..Draft::default() };
    let email = house.ask_with(&people[0], email, &[file(2 * MEGABYTE)]).await;
    house.set("max_message_mb", 1).await;
    house.transmit(&people[0]).await;
    assert_eq!(house.state(email).await, EmailState::Failed);
    assert!(house.provider.handed_over().is_empty());
    let told = "alerts where kind = 'message_refused' and parameters->>'reason' like '%max_message_mb%'";
    assert_eq!(house.count(told).await, 1);
    assert_eq!(house.count("mailbox_workloads where workload = 'outgoing' and enabled").await, 2);
    assert_eq!(house.door(Workload::Outgoing).front().current(), 0);
}

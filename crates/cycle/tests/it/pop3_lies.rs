//! POP3 servers that lie, flood or lose what they are told: each is cut by a limit and costs nobody else anything.

use std::fmt::Write as _;

use cycle::Config;
use model::cadence::Outcome;
use model::workload::Workload;

use crate::house::config;
use crate::maildrop::{Maildrop, plain};
use crate::pop3::{expect, later};
use crate::scripted::{Do, say};

#[tokio::test]
async fn a_server_that_loses_what_it_announced_to_take_is_asked_one_thing_at_a_time() {
    let drop = Maildrop::with(4).await;
    drop.says(|line| (line == "LIST").then(|| Do::SayAndForget(list(4))));
    let (house, id) = drop.house(Config { phase_seconds: 2, ..config() }).await;
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 4, cut_off: false }), "{:?}", ending.outcome);
    expect(&house, &[("emails", 4), ("alerts", 0)]).await;
    assert_eq!(drop.heard("PASS").len(), 2);
    // It is remembered, for a day.
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("PASS").len(), 1);
    let owner = house.database.owner().await.unwrap();
    owner.execute("update cursors set modified_at = now() - interval '25 hours'", &[]).await.unwrap();
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(drop.heard("PASS").len(), 2);
}

#[tokio::test]
async fn a_server_that_loses_what_was_asked_ahead_in_a_batch_costs_no_message_a_try() {
    let drop = Maildrop::with(6).await;
    let first = plain(1);
    drop.says(move |line| {
        (line == "RETR 1").then(|| Do::SayAndForget([b"+OK\r\n", &first[..], b".\r\n"].concat()))
    });
    let (house, id) = drop.house(Config { phase_seconds: 1, ..config() }).await;
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails", 1), ("mailbox_items where decision = 'failed'", 0)]).await;
    later(&house).await;
    house.cycle(id, Workload::Incoming).await;
    expect(
        &house,
        &[("emails", 6), ("mailbox_items where attempts > 0", 0), ("alerts where resolved_at is null", 0)],
    )
    .await;
}

fn list(count: usize) -> Vec<u8> {
    let mut lines = String::new();
    for number in 1..=count {
        let _ = write!(lines, "{number} {}\r\n", plain(number).len());
    }
    format!("+OK\r\n{lines}.\r\n").into_bytes()
}

#[tokio::test]
async fn a_header_without_an_end_is_blamed_on_its_message_and_the_others_come_in() {
    let drop = Maildrop::with(4).await;
    drop.says(|line| {
        let flood = || Do::SayAndBreak([b"+OK\r\n", &b"X-More: and more\r\n".repeat(700_000)[..]].concat());
        matches!(line, "TOP 2 0" | "RETR 2").then(flood)
    });
    let (house, id) = drop.house(config()).await;
    for _ in 0..7 {
        house.cycle(id, Workload::Incoming).await;
        later(&house).await;
    }
    expect(
        &house,
        &[
            ("emails", 3),
            ("mailbox_items where attempts > 0 or decision <> 'recorded'", 1),
            ("mailbox_workloads where workload = 'incoming' and enabled", 1),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_hundred_thousand_messages_are_listed_in_one_cycle_and_read_as_the_caps_allow() {
    let drop = Maildrop::with(1).await;
    let message = drop.state().messages[0].1.clone();
    let many = 100_000;
    drop.state().messages = (0..many).map(|number| (format!("{number:>070}"), message.clone())).collect();
    let (house, id) = drop.house(Config { max_items: 7, ..config() }).await;
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 7, cut_off: true }), "{:?}", ending.outcome);
    expect(&house, &[("mailbox_items", 7), ("emails", 1)]).await;
    assert_eq!(drop.heard("RETR").len(), 7);
}

#[tokio::test]
async fn a_message_that_says_more_than_its_octets_and_has_one_long_line_is_recorded_as_it_is() {
    let drop = Maildrop::with(0).await;
    let long = [&plain(1)[..], &vec![b'x'; 3_000_000], b"\r\n"].concat();
    let bare = String::from_utf8(plain(2)).unwrap() + "one\n.\ntwo\n.\r\r\nthree\r\n";
    drop.state().messages =
        vec![("long".to_owned(), long.clone()), ("bare".to_owned(), bare.clone().into_bytes())];
    let answer = long.clone();
    drop.says(move |line| match line {
        "LIST" => Some(say("+OK\r\n1 12\r\n2 7\r\n.\r\n")),
        "RETR 1" => Some(say([b"+OK 5 octets\r\n", &answer[..], b".\r\n"].concat())),
        _ => None,
    });
    let (house, id) = drop.house(config()).await;
    for _ in 0..2 {
        house.cycle(id, Workload::Incoming).await;
    }
    let owner = house.database.owner().await.unwrap();
    let rows = owner.query("select size from blobs", &[]).await.unwrap();
    let sizes: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert!(sizes.contains(&i64::try_from(long.len()).unwrap()), "{sizes:?}");
    assert!(sizes.contains(&i64::try_from(bare.len()).unwrap()), "{sizes:?}");
    expect(&house, &[("emails", 2), ("mailbox_items", 2)]).await;
}

#[tokio::test]
async fn sizes_that_add_up_to_more_than_a_number_holds_cost_nobody_anything() {
    let drop = Maildrop::with(3).await;
    drop.says(|line| {
        let listing = format!("+OK\r\n1 10\r\n2 {0}\r\n3 {0}\r\n.\r\n", u64::MAX);
        (line == "LIST").then(|| say(listing))
    });
    let (house, id) = drop.house(config()).await;
    // Each is more than a cycle may have, and goes alone.
    for _ in 0..2 {
        let (ending, _) = house.cycle(id, Workload::Incoming).await;
        assert!(matches!(ending.outcome, Outcome::Done { .. }), "{:?}", ending.outcome);
    }
    expect(&house, &[("emails", 1), ("mailbox_items where decision = 'too_large'", 2)]).await;
}

#[tokio::test]
async fn mail_in_utf8_comes_as_it_was_written_where_the_server_offers_it() {
    let drop = Maildrop::with(0).await;
    drop.state().capabilities = "USER\r\nUIDL\r\nTOP\r\nPIPELINING\r\nUTF8 USER\r\n";
    let raw = String::from_utf8(plain(1)).unwrap().replace("Message 1", "Grüße 你好");
    drop.state().messages.push(("a".to_owned(), raw.into_bytes()));
    let (house, id) = drop.house(config()).await;
    house.cycle(id, Workload::Incoming).await;
    expect(&house, &[("emails where subject = 'Grüße 你好'", 1)]).await;
    let heard = drop.heard_all();
    let place = |word: &str| heard.iter().position(|line| line.starts_with(word)).unwrap();
    assert!(place("UTF8") < place("USER"), "{heard:?}");
}

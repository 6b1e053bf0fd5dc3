//! Listing and fetching from servers that are slow, wrong or hostile.

use std::fmt::Write as _;
use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::pop3::{Fetched, Limits, Listed, Session};
use model::endpoint::Tls;
use model::secret::Secret;

use crate::pop3_opening::{AMPLE, LIMITS, LITTLE, sign_in};
use crate::pop3_script::{SLOW, Scripted, Talk, USUAL};

fn listed(number: u32) -> Listed {
    Listed { number, size: 10, uid: format!("u{number}") }
}

fn wanted(numbers: std::ops::RangeInclusive<u32>) -> Vec<Listed> {
    numbers.map(listed).collect()
}

/// A session with a server that signs in and then plays the script.
async fn session<F: Future<Output = ()> + Send + 'static>(
    capabilities: &'static str,
    script: impl Fn(Talk) -> F + Clone + Send + Sync + 'static,
) -> (Session, Scripted) {
    let server = Scripted::start(Tls::Implicit, move |mut talk| {
        let script = script.clone();
        async move {
            talk.welcome(capabilities).await;
            script(talk).await;
        }
    })
    .await;
    let session = sign_in(&server).await.unwrap();
    (session, server)
}

/// What became of each message, in a word or its own words.
async fn fates(session: &mut Session, wanted: &[Listed], window: usize, max_bytes: u64) -> Vec<String> {
    let mut fates = Vec::new();
    let mut fetching = session.retrieve_many(wanted, window, max_bytes);
    loop {
        match fetching.next().await {
            Ok(Some((item, Fetched::Whole(raw)))) => {
                fates.push(format!("{} {}", item.number, String::from_utf8_lossy(&raw).escape_debug()));
            }
            Ok(Some((item, Fetched::TooLarge))) => fates.push(format!("{} too large", item.number)),
            Ok(Some((item, Fetched::Refused(_)))) => fates.push(format!("{} refused", item.number)),
            Ok(None) => return fates,
            Err(error) => {
                fates.push(format!("{:?} {:?}", error.phase(), error.kind()));
                return fates;
            }
        }
    }
}

#[tokio::test]
async fn ten_thousand_messages_are_listed_in_one_go() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        talk.hear().await;
        talk.hear().await;
        let mut sizes = String::from("+OK 10000 messages\r\n");
        let mut uids = String::from("+OK\r\n");
        for number in 1..=10_000 {
            write!(sizes, "{number} {}\r\n", number * 3).unwrap();
            // Every message but the first shares its id with another.
            write!(uids, "{number} id-{}\r\n", number / 2).unwrap();
        }
        talk.say(format!("{sizes}.\r\n{uids}.\r\n")).await;
        talk.answer("+OK bye\r\n").await;
    })
    .await;
    let listed = session.list().await.unwrap();
    assert_eq!(listed.len(), 10_000);
    assert_eq!(listed[9_998], Listed { number: 9_999, size: 29_997, uid: "id-4999".to_owned() });
    assert_eq!(listed[9_997].uid, "id-4999");
    assert!(session.quit().await.unwrap());
    assert_eq!(server.heard()[3..], ["LIST", "UIDL", "QUIT"]);
}

#[tokio::test]
async fn without_pipelining_nothing_is_said_before_the_answer() {
    let (mut session, _server) = session(SLOW, |mut talk| async move {
        for _ in 0..5 {
            let line = talk.hear().await;
            assert!(talk.is_quiet().await, "more came before {line} was answered");
            talk.say("+OK\r\n.\r\n").await;
        }
        talk.hear().await;
    })
    .await;
    assert_eq!(session.list().await.unwrap(), []);
    assert_eq!(fates(&mut session, &wanted(1..=3), 100, 100).await, ["1 ", "2 ", "3 "]);
}

#[tokio::test]
async fn with_pipelining_the_window_is_used_and_answers_stay_in_order() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        for round in [1..=8_u32, 9..=12] {
            // Nothing is answered before the whole window was heard.
            for _ in round.clone() {
                talk.hear().await;
            }
            for number in round {
                talk.say(format!("+OK\r\nmessage {number}\r\n..\r\n.\r\n")).await;
                if number == 4 {
                    // Half of the window is answered: four more are asked for, no more.
                    for _ in 9..=12 {
                        talk.hear().await;
                    }
                    assert!(talk.is_quiet().await);
                    for number in 5..=12 {
                        talk.say(format!("+OK\r\nmessage {number}\r\n..\r\n.\r\n")).await;
                    }
                    talk.hear().await;
                    return;
                }
            }
        }
    })
    .await;
    let expected: Vec<_> = (1..=12).map(|n| format!("{n} message {n}\\r\\n.\\r\\n")).collect();
    assert_eq!(fates(&mut session, &wanted(1..=12), 8, 1000).await, expected);
    let asked: Vec<_> = (1..=12).map(|n| format!("RETR {n}")).collect();
    assert_eq!(server.heard()[3..], asked);
}

#[tokio::test]
async fn a_listing_is_bounded_and_needs_uidl() {
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.say("+OK\r\n").await;
        for number in 1..=30_000 {
            talk.say(format!("{number} 1\r\n")).await;
        }
    })
    .await;
    let error = session.list().await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::List, &Kind::TooLarge("the listing")));
    assert!(!session.is_usable());
    assert_eq!(session.stat().await.unwrap_err().kind(), &Kind::TooLarge("the listing"));
}

#[tokio::test]
async fn a_server_without_uidl_is_refused_with_the_reason() {
    for capabilities in ["SASL PLAIN\r\nPIPELINING\r\n", "SASL PLAIN\r\n"] {
        let (mut session, _server) = session(capabilities, |mut talk| async move {
            talk.answer("+OK\r\n1 10\r\n.\r\n").await;
            talk.answer("-ERR unknown command\r\n").await;
            talk.answer("+OK\r\n").await;
        })
        .await;
        let error = session.list().await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::List, &Kind::Unsupported("UIDL")));
        assert!(error.to_string().contains("UIDL"));
        assert!(session.quit().await.is_ok());
    }
    // One that announces it and refuses it has it another time.
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.answer("+OK\r\n.\r\n").await;
        talk.answer("-ERR not now\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!(session.list().await.unwrap_err().kind(), &Kind::TemporarilyRefused);
}

#[tokio::test]
async fn a_listing_says_whether_it_named_everything() {
    for (uids, whole) in [("1 a\r\n2 b\r\n", true), ("1 a\r\n", false), ("1 a\r\n2 b\r\n3 new\r\n", true)] {
        let (mut session, _server) = session(USUAL, move |mut talk| async move {
            talk.answer("+OK\r\n1 10\r\n2 10\r\n.\r\n").await;
            talk.answer(format!("+OK\r\n{uids}.\r\n")).await;
            talk.hear().await;
        })
        .await;
        session.list().await.unwrap();
        assert_eq!(session.listed_all(), whole, "{uids:?}");
    }
}

#[tokio::test]
async fn a_listing_of_overlong_names_is_cut_before_it_fills_the_memory() {
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.answer("+OK\r\n.\r\n").await;
        talk.answer("+OK\r\n").await;
        let uid = "x".repeat(250);
        for number in 1..=LIMITS.max_entries {
            talk.say(format!("{number} {uid}\r\n")).await;
        }
    })
    .await;
    assert_eq!(session.list().await.unwrap_err().kind(), &Kind::TooLarge("the listing"));
    assert!(!session.is_usable());
}

#[tokio::test]
async fn what_is_lost_because_it_was_sent_ahead_is_told_apart() {
    // The answer to the second command never comes.
    let little = |server: &Scripted| server.settings(LITTLE);
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.welcome(USUAL).await;
        talk.answer("+OK\r\n.\r\n").await;
        talk.was_reset().await;
    })
    .await;
    let password = Secret::from("open sesame".to_owned());
    let mut session =
        Session::sign_in(&server.endpoint, &little(&server), LIMITS, "anna", &password).await.unwrap();
    let error = session.list().await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent_ahead()), (&Kind::TimedOut, true));
    session.drop_without_quit();
    // The same silence where nothing was sent ahead is only silence.
    let limits = Limits { pipelining: false, ..LIMITS };
    let mut session =
        Session::sign_in(&server.endpoint, &little(&server), limits, "anna", &password).await.unwrap();
    assert!(!session.capabilities().pipelining);
    assert!(!session.list().await.unwrap_err().was_sent_ahead());
}

#[tokio::test]
async fn malformed_listings_are_violations() {
    for (sizes, uids) in
        [("one 1\r\n", "1 a\r\n"), ("1 1\r\n", "1\r\n"), ("", "1 a\r\n1 b\r\n"), ("", "0 a\r\n")]
    {
        let (mut session, _server) = session(USUAL, move |mut talk| async move {
            talk.say(format!("+OK\r\n{sizes}.\r\n+OK\r\n{uids}.\r\n")).await;
            talk.hear().await;
        })
        .await;
        let error = session.list().await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Violation(_)), "{sizes:?} {uids:?}: {error}");
    }
}

#[tokio::test]
async fn one_refused_message_does_not_stop_the_others() {
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.say("+OK\r\na\r\n.\r\n-ERR gone\r\n+OK\r\nc\r\n.\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!(fates(&mut session, &wanted(1..=3), 10, 100).await, ["1 a\\r\\n", "2 refused", "3 c\\r\\n"]);
    assert!(session.is_usable());
}

#[tokio::test]
async fn a_lie_about_the_size_costs_that_message_alone() {
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.say("+OK 10 octets\r\n").await;
        talk.say(format!("{}\r\n.\r\n", "x".repeat(50_000))).await;
        talk.say("+OK\r\nb\r\n.\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!(fates(&mut session, &wanted(1..=2), 10, 100).await, ["1 too large", "2 b\\r\\n"]);
}

#[tokio::test]
async fn a_message_without_an_end_is_given_up_after_the_bound() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        talk.say("+OK\r\na\r\n.\r\n+OK\r\n").await;
        for _ in 0..40 {
            talk.say("y".repeat(10_000)).await;
        }
        talk.hear().await;
    })
    .await;
    assert_eq!(
        fates(&mut session, &wanted(1..=3), 10, 1000).await,
        ["1 a\\r\\n", "2 too large", "Fetch TooLarge(\"a message\")"]
    );
    assert!(session.traffic().received < 350_000, "it was not read to the end");
    assert!(session.quit().await.is_err());
    assert!(!server.heard().contains(&"QUIT".to_owned()));
}

#[tokio::test]
async fn a_connection_lost_in_a_message_keeps_those_before_it() {
    let (mut session, _server) = session(USUAL, |mut talk| async move {
        talk.say("+OK\r\na\r\n.\r\n+OK\r\nhalf of").await;
    })
    .await;
    assert_eq!(fates(&mut session, &wanted(1..=3), 10, 1000).await, ["1 a\\r\\n", "Fetch Closed"]);
    assert!(!session.is_usable());
}

#[tokio::test]
async fn a_message_that_dribbles_does_not_outlast_its_deadline() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.welcome(USUAL).await;
        talk.say("+OK\r\n").await;
        for _ in 0..200 {
            talk.say("x").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let limits = Limits { message_deadline: LITTLE, ..LIMITS };
    let password = Secret::from("open sesame".to_owned());
    let mut session =
        Session::sign_in(&server.endpoint, &server.settings(AMPLE), limits, "anna", &password).await.unwrap();
    assert_eq!(fates(&mut session, &wanted(1..=1), 10, 1000).await, ["Fetch TimedOut"]);
}

#[tokio::test]
async fn what_was_asked_for_and_not_taken_is_thrown_away_before_the_next_command() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        for _ in 0..4 {
            talk.hear().await;
        }
        talk.say("+OK\r\na\r\n.\r\n+OK\r\n+OK 9 9\r\n.\r\n-ERR gone\r\n+OK\r\nd\r\n.\r\n").await;
        talk.answer("+OK 4 40\r\n").await;
        talk.answer("+OK\r\n").await;
    })
    .await;
    let items = wanted(1..=4);
    let mut fetching = session.retrieve_many(&items, 10, 100);
    assert!(matches!(fetching.next().await.unwrap(), Some((_, Fetched::Whole(_)))));
    let maildrop = session.stat().await.unwrap();
    assert_eq!((maildrop.count, maildrop.size), (4, 40));
    assert!(session.quit().await.unwrap());
    assert_eq!(server.heard().last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn a_streamed_message_comes_in_pieces_and_is_capped() {
    let (mut session, _server) = session(SLOW, |mut talk| async move {
        for _ in 0..3 {
            talk.hear().await;
            talk.say("+OK\r\n").await;
            for _ in 0..30 {
                talk.say(format!("..{}\r\n", "z".repeat(997))).await;
            }
            talk.say(".\r\n").await;
        }
        talk.answer("-ERR no such message\r\n").await;
        talk.answer("+OK 1 1\r\n").await;
    })
    .await;
    let mut body = session.retrieve(1, 30_000).await.unwrap();
    let mut whole = Vec::new();
    while let Some(chunk) = body.chunk().await.unwrap() {
        assert!(!chunk.is_empty());
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(whole, format!(".{}\r\n", "z".repeat(997)).repeat(30).into_bytes());
    let mut body = session.retrieve(1, 2_000).await.unwrap();
    let error = loop {
        match body.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a message over its cap must not end as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), &Kind::TooLarge("the message"));
    assert_eq!(body.chunk().await.unwrap_err().kind(), &Kind::TooLarge("the message"));
    // Left in the middle: the rest is thrown away.
    assert!(session.retrieve(1, 30_000).await.is_ok());
    let error = session.retrieve(7, 30_000).await.unwrap_err();
    assert_eq!((error.kind(), error.said()), (&Kind::TemporarilyRefused, Some("no such message")));
    assert_eq!(session.stat().await.unwrap().count, 1);
}

#[tokio::test]
async fn headers_and_deletions_travel_together() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        for _ in 0..3 {
            talk.hear().await;
        }
        talk.say("+OK\r\nSubject: a\r\n\r\n.\r\n-ERR gone\r\n+OK\r\nSubject: c\r\n\r\n.\r\n").await;
        talk.answer("+OK\r\nSubject: d\r\n\r\nx\r\n.\r\n").await;
        for _ in 0..3 {
            talk.hear().await;
        }
        talk.say("+OK\r\n-ERR gone\r\n+OK\r\n").await;
        talk.answer("-ERR some deleted messages not removed\r\n").await;
    })
    .await;
    let items = wanted(1..=3);
    let mut headers = session.top_many(&items, 0, 10, 1000);
    let mut lengths = Vec::new();
    while let Some((item, fetched)) = headers.next().await.unwrap() {
        match fetched {
            Fetched::Whole(header) => lengths.push((item.number, header.len())),
            Fetched::Refused(_) => lengths.push((item.number, 0)),
            Fetched::TooLarge => panic!("nothing here is large"),
        }
    }
    assert_eq!(lengths, [(1, 14), (2, 0), (3, 14)]);
    assert!(
        matches!(session.top(4, 1, 1000).await.unwrap(), Fetched::Whole(header) if header.ends_with(b"x\r\n"))
    );
    let refused = session.dele_many(&[1, 2, 3]).await.unwrap();
    assert_eq!(refused.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2]);
    assert!(!session.quit().await.unwrap());
    assert_eq!(
        server.heard()[3..],
        ["TOP 1 0", "TOP 2 0", "TOP 3 0", "TOP 4 1", "DELE 1", "DELE 2", "DELE 3", "QUIT"]
    );
}

#[tokio::test]
async fn a_cancelled_call_ends_the_session() {
    let (mut session, server) = session(USUAL, |mut talk| async move {
        talk.hear().await;
        talk.hear().await;
    })
    .await;
    assert!(tokio::time::timeout(LITTLE, session.stat()).await.is_err());
    assert!(!session.is_usable());
    assert_eq!(session.stat().await.unwrap_err().kind(), &Kind::Closed);
    assert_eq!(server.heard()[3..], ["STAT"]);
}

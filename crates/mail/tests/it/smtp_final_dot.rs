//! Losing the line, late and unreadable answers: on which side of the final dot, and is it said?

use std::time::Duration;

use mail::Error;
use mail::error::{Kind, Phase};
use mail::smtp::{Outcome, Session, Step, whole};

use super::smtp_script::{MESSAGE, ON_THE_WIRE, Peer, Script, codes, envelope, is_sent, refused_at, submit};

#[tokio::test]
async fn a_line_lost_before_the_dot_is_not_sent() {
    // At each step the server hangs up instead of answering.
    for step in 0..3 {
        let script = Script::signed_in("", async move |mut peer: Peer| {
            for _ in 0..step {
                peer.answer("250 ok").await;
            }
            peer.hear().await
        })
        .await;
        let mut session = script.open().await.unwrap();
        let error = submit(&mut session, &["b@x"]).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Envelope, &Kind::Closed), "step {step}");
        assert!(!session.is_open());
        assert_eq!(submit(&mut session, &["b@x"]).await.unwrap_err().kind(), &Kind::Closed);
    }
}

/// What was written on loopback is there; the runtime learns of it when its thread next goes to sleep, however shortly.
async fn see_what_came() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_before_the_dot_leaves_no_doubt() {
    let (gone, is_gone) = tokio::sync::oneshot::channel();
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        let mut heard = Vec::new();
        while !heard.ends_with(b"end\r\n") {
            heard.extend_from_slice(peer.hear().await.as_bytes());
            heard.extend_from_slice(b"\r\n");
        }
        peer.say("421 4.4.2 shutting down").await;
        drop(peer);
        gone.send(()).unwrap();
        heard
    })
    .await;
    let mut session = script.open().await.unwrap();
    let before_final_dot = async {
        is_gone.await.unwrap();
        see_what_came().await;
        Ok(())
    };
    let error: Error =
        session.submit(&envelope(&["b@x"]), whole(MESSAGE), before_final_dot).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Data, &Kind::Unavailable));
    assert_eq!(script.heard().await, &ON_THE_WIRE[..ON_THE_WIRE.len() - 3]);
}

#[tokio::test]
async fn a_second_thought_before_the_dot_keeps_the_message_from_being_sent() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_rest().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let lost = || Error::new(Phase::Data, Kind::Unspeakable("the lease is gone"));
    let error = session.submit(&envelope(&["b@x"]), whole(MESSAGE), async { Err(lost()) }).await.unwrap_err();
    assert_eq!(error, lost());
    assert!(!session.is_open());
    let heard = script.heard().await;
    assert_eq!(heard, &ON_THE_WIRE[..heard.len()]);
    assert!(heard.len() <= ON_THE_WIRE.len() - 3, "all but the dot may have arrived");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_to_its_end_is_not_sent() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_rest().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let broken = || Error::new(Phase::Data, Kind::Unspeakable("the blob has a hole"));
    let pieces = futures_util::stream::iter([Ok(b"Subject: x\r\n".as_slice()), Err(broken())]);
    let error = session.submit(&envelope(&["b@x"]), pieces, async { Ok(()) }).await.unwrap_err();
    assert_eq!(error, broken());
    assert!(!script.heard().await.ends_with(b".\r\n"));
}

#[tokio::test]
async fn a_line_lost_after_the_dot_is_unknown() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.answer("250 ok").await;
        peer.answer("250 ok").await;
        peer.answer("550 no").await;
        peer.answer("354 go").await;
        peer.hear_message().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x", "c@x"]).await.unwrap();
    let Outcome::Unknown(error) = &submission.outcome else { panic!("{submission:?}") };
    assert_eq!((error.phase(), error.kind()), (Phase::Verdict, &Kind::Closed));
    assert_eq!(codes(&submission), [("in doubt", 250), ("refused", 550)]);
    assert!(!session.is_open());
    assert_eq!(script.heard().await, ON_THE_WIRE);
}

#[tokio::test]
async fn an_answer_to_the_dot_that_cannot_be_read_is_unknown() {
    for garbage in
        ["HTTP/1.1 200 OK", "250-first\n251 second", "250-never ending", "354 go on", "", "999 x", "25"]
    {
        let script = Script::signed_in("", async move |mut peer: Peer| {
            peer.until_data().await;
            peer.hear_message().await;
            peer.say(garbage).await;
        })
        .await;
        let mut session = script.open().await.unwrap();
        let submission = submit(&mut session, &["b@x"]).await.unwrap();
        let Outcome::Unknown(error) = &submission.outcome else { panic!("{garbage}: {submission:?}") };
        assert_eq!(error.phase(), Phase::Verdict, "{garbage}");
        assert_eq!(codes(&submission), [("in doubt", 250)]);
        assert!(!session.is_open());
    }
}

#[tokio::test]
async fn an_answer_to_the_dot_that_comes_too_late_is_unknown_and_one_in_time_counts() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_message().await;
        peer.hear().await
    })
    .await;
    let mut settings = script.settings.clone();
    settings.verdict_timeout = Duration::from_millis(50);
    let mut session = Session::open(&script.endpoint, &settings, "anna", &"pass".into()).await.unwrap();
    let submission = submit(&mut session, &["b@x"]).await.unwrap();
    let Outcome::Unknown(error) = &submission.outcome else { panic!("{submission:?}") };
    assert_eq!((error.phase(), error.kind()), (Phase::Verdict, &Kind::TimedOut));
    assert_eq!(script.heard().await, "(closed)");

    // A verdict may take longer than any other phase.
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_message().await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        peer.say("250 ok").await;
    })
    .await;
    let mut settings = script.settings.clone();
    settings.transport.phase_deadline = Duration::from_secs(2);
    let mut session = Session::open(&script.endpoint, &settings, "anna", &"pass".into()).await.unwrap();
    assert!(is_sent(&submit(&mut session, &["b@x"]).await.unwrap()));
}

#[tokio::test]
async fn a_no_to_the_whole_message_is_a_no_to_all_it_had_accepted() {
    for (answer, state) in [
        ("554 5.7.1 spam", "refused"),
        ("451 4.7.1 greylisted", "deferred"),
        ("552 5.3.4 too big", "refused"),
    ] {
        let script = Script::signed_in("", async move |mut peer: Peer| {
            peer.answer("250 ok").await;
            peer.answer("550 5.1.1 no").await;
            peer.answer("250 ok").await;
            peer.answer("354 go").await;
            peer.hear_message().await;
            peer.say(answer).await;
            peer.answer("250 forgotten").await
        })
        .await;
        let mut session = script.open().await.unwrap();
        let submission = submit(&mut session, &["b@x", "c@x"]).await.unwrap();
        let code = answer[..3].parse().unwrap();
        assert_eq!(refused_at(&submission), Some((Step::Message, code)));
        assert_eq!(codes(&submission), [("refused", 550), (state, code)]);
        session.reset().await.unwrap();
        assert_eq!(script.heard().await, "RSET");
    }
}

#[tokio::test]
async fn a_421_at_any_step_is_the_servers_and_nothing_was_sent() {
    // 0 MAIL, 1 RCPT, 2 DATA, 3 the final dot.
    for step in 0..4 {
        let script = Script::signed_in("", async move |mut peer: Peer| {
            for before in 0..step {
                peer.answer(if before == 2 { "354 go" } else { "250 ok" }).await;
            }
            if step == 3 {
                peer.hear_message().await;
            } else {
                peer.hear().await;
            }
            peer.say("421 4.7.0 slow down").await;
            peer.hear().await
        })
        .await;
        let mut session = script.open().await.unwrap();
        let error = submit(&mut session, &["b@x"]).await.unwrap_err();
        assert_eq!(error.kind(), &Kind::Unavailable, "step {step}");
        assert_ne!(error.phase(), Phase::Verdict);
        assert_eq!(error.said(), Some("421 4.7.0 slow down"));
        assert!(!session.is_open());
        assert_eq!(script.heard().await, "(closed)");
    }
}

#[tokio::test]
async fn a_goodbye_between_two_messages_is_noticed_before_the_next() {
    for goodbye in ["421 4.7.0 twenty messages are enough", ""] {
        let (gone, is_gone) = tokio::sync::oneshot::channel();
        let script = Script::signed_in("", async move |mut peer: Peer| {
            peer.until_data().await;
            peer.hear_message().await;
            peer.say("250 ok").await;
            peer.say(goodbye).await;
            drop(peer);
            gone.send(()).unwrap();
        })
        .await;
        let mut session = script.open().await.unwrap();
        assert!(is_sent(&submit(&mut session, &["b@x"]).await.unwrap()));
        is_gone.await.unwrap();
        for _ in 0..400 {
            if !session.is_open() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!session.is_open(), "{goodbye}");
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_never_taken_for_a_verdict() {
    // The server speaks twice after DATA: its second word must not pass for the answer to the dot.
    let (said, is_said) = tokio::sync::oneshot::channel();
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.answer("250 ok").await;
        peer.answer("250 ok").await;
        peer.answer("354 go").await;
        peer.say("250 queued").await;
        said.send(()).unwrap();
        peer.hear_rest().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let before_final_dot = async {
        is_said.await.unwrap();
        see_what_came().await;
        Ok(())
    };
    let error: Error =
        session.submit(&envelope(&["b@x"]), whole(MESSAGE), before_final_dot).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Data);
    assert!(matches!(error.kind(), Kind::Violation(_)));
    assert!(!script.heard().await.ends_with(b".\r\n"));
}

#[tokio::test]
async fn a_submission_dropped_in_the_middle_closes_the_session() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        let heard = peer.hear().await;
        (heard, peer.hear().await)
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x"]);
    assert!(tokio::time::timeout(Duration::from_millis(100), submission).await.is_err());
    assert!(!session.is_open() && !session.may_have_sent());
    assert_eq!(script.heard().await, ("MAIL FROM:<anna@example.org>".into(), "(closed)".into()));
}

#[tokio::test]
async fn a_submission_dropped_after_the_dot_says_that_it_may_have_been_sent() {
    let (heard, has_heard) = tokio::sync::oneshot::channel();
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_message().await;
        heard.send(()).unwrap();
        peer.hear().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    tokio::select! {
        submission = submit(&mut session, &["b@x"]) => panic!("{submission:?}"),
        _ = has_heard => {}
    }
    assert!(session.may_have_sent());
    assert!(!session.is_open());
    assert_eq!(script.heard().await, "(closed)");
}

/// Pieces of a message far larger than what sockets buffer.
fn large() -> impl futures_util::Stream<Item = Result<&'static [u8], Error>> {
    futures_util::stream::iter(std::iter::repeat_n(Ok([b'x'; 1000].as_slice()), 60_000))
}

#[tokio::test]
async fn a_line_lost_in_the_middle_of_a_message_is_not_sent() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_some(100_000).await;
    })
    .await;
    let mut session = script.open().await.unwrap();
    let error: Error = session.submit(&envelope(&["b@x"]), large(), async { Ok(()) }).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Data, &Kind::Closed));
    assert!(!session.is_open() && !session.may_have_sent());
}

#[tokio::test]
async fn a_server_that_stops_reading_is_given_up_and_got_nothing() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.until_data().await;
        peer.hear_some(100_000).await;
        // Keeps the line and reads no more until the client is gone.
        std::future::pending::<()>().await;
    })
    .await;
    let mut settings = script.settings.clone();
    settings.message_timeout = Duration::from_millis(300);
    let mut session = Session::open(&script.endpoint, &settings, "anna", &"pass".into()).await.unwrap();
    let error: Error = session.submit(&envelope(&["b@x"]), large(), async { Ok(()) }).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Data, &Kind::TimedOut));
    assert!(!session.is_open() && !session.may_have_sent());
}

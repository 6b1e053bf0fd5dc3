//! MAIL, RCPT and DATA: who gets a message when a server refuses some of it.

use mail::Error;
use mail::error::{Kind, Phase};
use mail::smtp::{Outcome, RecipientState, Step, whole};

use super::smtp_script::{MESSAGE, ON_THE_WIRE, Peer, Script, codes, envelope, is_sent, refused_at, submit};

#[tokio::test]
async fn without_pipelining_each_command_waits_for_its_answer() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        let mut heard = vec![peer.answer("250 ok").await];
        heard.push(peer.answer("250 ok").await);
        heard.push(peer.answer("550-5.1.1 unknown\n550 5.1.1 user").await);
        heard.push(peer.answer("450 4.2.0 greylisted").await);
        heard.push(peer.answer("354 go").await);
        let message = peer.hear_message().await;
        peer.say("250 2.0.0 queued as 7").await;
        peer.hear().await;
        (heard, message)
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x", "c@x", "d@x"]).await.unwrap();
    assert!(matches!(&submission.outcome, Outcome::Sent(reply) if reply.text() == "queued as 7"));
    assert_eq!(codes(&submission), [("accepted", 250), ("refused", 550), ("deferred", 450)]);
    assert_eq!(submission.recipients[1].reply().text(), "unknown user");
    assert_eq!(submission.accepted(), 1);
    assert!(session.is_open());
    drop(session);
    let (heard, message) = script.heard().await;
    assert_eq!(
        heard,
        ["MAIL FROM:<anna@example.org>", "RCPT TO:<b@x>", "RCPT TO:<c@x>", "RCPT TO:<d@x>", "DATA"]
    );
    assert_eq!(message, ON_THE_WIRE);
}

#[tokio::test]
async fn with_pipelining_the_envelope_is_one_group() {
    let script = Script::signed_in("PIPELINING\nSIZE 9000", async |mut peer: Peer| {
        // Nothing is answered before everything was heard: a client that waited would wait for ever.
        let mut heard = Vec::new();
        for _ in 0..5 {
            heard.push(peer.hear().await);
        }
        peer.say("250 ok\n250 ok\n550 5.1.1 unknown\n251 forwarded\n354 go").await;
        let message = peer.hear_message().await;
        peer.say("250 done").await;
        (heard, message)
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x", "c@x", "d@x"]).await.unwrap();
    assert!(is_sent(&submission));
    assert_eq!(codes(&submission), [("accepted", 250), ("refused", 550), ("accepted", 251)]);
    let (heard, message) = script.heard().await;
    let mail = format!("MAIL FROM:<anna@example.org> SIZE={}", MESSAGE.len());
    assert_eq!(heard, [&mail, "RCPT TO:<b@x>", "RCPT TO:<c@x>", "RCPT TO:<d@x>", "DATA"]);
    assert_eq!(message, ON_THE_WIRE);
}

#[tokio::test]
async fn a_thousand_recipients_go_in_groups_that_end() {
    let script = Script::signed_in("PIPELINING", async |mut peer: Peer| {
        let mut answered = 0;
        loop {
            let line = peer.hear().await;
            match line.as_str() {
                "DATA" => break,
                // The client is told of its limit, and goes on.
                _ if answered > 500 => peer.say("452 4.5.3 too many recipients").await,
                _ => peer.say("250 ok").await,
            }
            answered += 1;
        }
        peer.say("354 go").await;
        peer.hear_message().await;
        peer.say("250 ok").await;
        answered
    })
    .await;
    let mut session = script.open().await.unwrap();
    let names: Vec<String> = (0..1000).map(|number| format!("u{number}@x")).collect();
    let submission =
        submit(&mut session, &names.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    assert!(is_sent(&submission));
    assert_eq!(submission.accepted(), 500);
    assert!(
        submission.recipients[500..].iter().all(
            |state| matches!(state, RecipientState::Deferred(reply) if reply.says_too_many_recipients())
        )
    );
    assert_eq!(script.heard().await, 1001);
}

#[tokio::test]
async fn everybody_refused_ends_without_data_and_the_next_message_goes() {
    let script = Script::signed_in("", async |mut peer: Peer| {
        peer.answer("250 ok").await;
        peer.answer("550 5.1.1 no").await;
        peer.answer("451 4.3.0 later").await;
        let mut heard = vec![peer.answer("250 forgotten").await, peer.answer("250 ok").await];
        heard.push(peer.answer("250 ok").await);
        heard.push(peer.answer("354 go").await);
        peer.hear_message().await;
        peer.say("250 ok").await;
        heard
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x", "c@x"]).await.unwrap();
    assert_eq!(refused_at(&submission), Some((Step::Recipients, 451)));
    assert_eq!(codes(&submission), [("refused", 550), ("deferred", 451)]);
    assert!(is_sent(&submit(&mut session, &["d@x"]).await.unwrap()));
    assert_eq!(script.heard().await, ["RSET", "MAIL FROM:<anna@example.org>", "RCPT TO:<d@x>", "DATA"]);
}

#[tokio::test]
async fn a_server_that_wants_data_for_nobody_gets_a_lone_dot() {
    for last in ["554 5.5.1 no valid recipients", "250 ok"] {
        let script = Script::signed_in("PIPELINING", async move |mut peer: Peer| {
            for _ in 0..4 {
                peer.hear().await;
            }
            peer.say("250 ok\n550 no\n550 no\n354 go").await;
            let message = peer.hear_message().await;
            peer.say(last).await;
            let next = peer.answer("250 ok").await;
            (message, next)
        })
        .await;
        let mut session = script.open().await.unwrap();
        let submission = submit(&mut session, &["b@x", "c@x"]).await.unwrap();
        assert_eq!(refused_at(&submission), Some((Step::Recipients, 550)));
        assert_eq!(codes(&submission), [("refused", 550), ("refused", 550)]);
        session.reset().await.unwrap();
        assert_eq!(script.heard().await, (b".\r\n".to_vec(), "RSET".to_owned()));
    }
}

#[tokio::test]
async fn a_line_lost_at_the_lone_dot_leaves_no_doubt() {
    let script = Script::signed_in("PIPELINING", async |mut peer: Peer| {
        for _ in 0..3 {
            peer.hear().await;
        }
        peer.say("250 ok\n550 no\n354 go").await;
        peer.hear_message().await;
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x"]).await.unwrap();
    assert_eq!(refused_at(&submission), Some((Step::Recipients, 550)));
    assert!(!session.is_open());
}

#[tokio::test]
async fn a_refused_sender_is_told_from_refused_recipients() {
    for (extensions, rest) in [("", None), ("PIPELINING", Some("503 5.5.1 MAIL first\n503 5.5.1 MAIL first"))]
    {
        for (answer, state) in [("553 5.7.1 not yours", "refused"), ("452 4.3.1 full", "deferred")] {
            let script = Script::signed_in(extensions, async move |mut peer: Peer| {
                peer.hear().await;
                peer.say(answer).await;
                if let Some(rest) = rest {
                    peer.hear().await;
                    peer.hear().await;
                    peer.say(rest).await;
                }
                peer.answer("221 bye").await
            })
            .await;
            let mut session = script.open().await.unwrap();
            let submission = submit(&mut session, &["b@x"]).await.unwrap();
            let code = answer[..3].parse().unwrap();
            assert_eq!(refused_at(&submission), Some((Step::Sender, code)));
            assert_eq!(codes(&submission), [(state, code)]);
            session.quit().await;
            assert_eq!(script.heard().await, "QUIT");
        }
    }
}

#[tokio::test]
async fn a_refused_data_refuses_those_it_concerns() {
    let script = Script::signed_in("PIPELINING", async |mut peer: Peer| {
        for _ in 0..4 {
            peer.hear().await;
        }
        peer.say("250 ok\n250 ok\n550 5.1.1 no\n451 4.3.0 no room").await;
        peer.hear().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let submission = submit(&mut session, &["b@x", "c@x"]).await.unwrap();
    assert_eq!(refused_at(&submission), Some((Step::Data, 451)));
    assert_eq!(codes(&submission), [("deferred", 451), ("refused", 550)]);
    assert!(session.is_open());
    drop(session);
    assert_eq!(script.heard().await, "(closed)");
}

#[tokio::test]
async fn a_message_over_the_announced_size_is_not_begun() {
    let script = Script::signed_in("SIZE 20", async |mut peer: Peer| peer.hear().await).await;
    let mut session = script.open().await.unwrap();
    let error = submit(&mut session, &["b@x"]).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::OverSize { size: MESSAGE.len() as u64, limit: 20 });
    assert!(error.to_string().contains(&MESSAGE.len().to_string()) && error.to_string().contains("20"));
    assert!(session.is_open(), "the next message may be smaller");
    drop(session);
    assert_eq!(script.heard().await, "(closed)");
}

#[tokio::test]
async fn eight_bit_content_that_was_not_announced_is_not_sent() {
    let script = Script::signed_in("8BITMIME", async |mut peer: Peer| {
        peer.answer("250 ok").await;
        peer.answer("250 ok").await;
        peer.answer("354 go").await;
        peer.hear_rest().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let error: Error =
        session.submit(&envelope(&["b@x"]), whole("ü".as_bytes()), async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Data);
    assert!(!session.is_open());
    assert!(!script.heard().await.ends_with(b".\r\n"));
}

#[tokio::test]
async fn a_sign_in_that_is_taken_back_at_mail_is_the_credentials_and_not_the_messages() {
    let script = Script::signed_in("PIPELINING", async |mut peer: Peer| {
        for _ in 0..3 {
            peer.hear().await;
        }
        peer.say("530 5.7.57 Client not authenticated to send mail\n503 MAIL first\n503 MAIL first").await;
        peer.hear().await
    })
    .await;
    let mut session = script.open().await.unwrap();
    let error = submit(&mut session, &["b@x"]).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Envelope, &Kind::CredentialsRefused));
    assert_eq!(script.heard().await, "(closed)");
}

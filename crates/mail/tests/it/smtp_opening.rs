//! From the greeting to sign-in, and the probe: what the SMTP client makes of every answer.

use mail::error::{Kind, Phase};
use mail::smtp::Reply;
use model::endpoint::Tls;

use super::smtp_script::{Peer, Script};

#[tokio::test]
async fn refusals_before_sign_in_are_the_servers_and_name_their_phase() {
    let table = [
        ("554 5.7.1 you are not welcome", Phase::Greeting, Kind::PermanentlyRefused),
        ("421 4.3.2 too busy", Phase::Greeting, Kind::Unavailable),
        ("450 later", Phase::Greeting, Kind::TemporarilyRefused),
        ("250 hello", Phase::Greeting, Kind::Violation("its answer does not fit the question")),
        ("+OK POP3 ready", Phase::Greeting, Kind::Violation("its answer does not start with a reply code")),
    ];
    for (greeting, phase, kind) in table {
        let script = Script::play(Tls::Implicit, async move |mut peer: Peer| peer.say(greeting).await).await;
        let error = script.open().await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (phase, &kind), "{greeting}");
        assert_eq!(error.said(), Some(greeting));
    }
    let table = [
        ("502 5.5.1 EHLO?", Kind::Unsupported("EHLO")),
        ("421 bye", Kind::Unavailable),
        ("550 5.7.1 no", Kind::PermanentlyRefused),
        ("354 go on", Kind::Violation("its answer does not fit the question")),
    ];
    for (answer, kind) in table {
        let script = Script::play(Tls::Implicit, async move |mut peer: Peer| {
            peer.say("220-many\n220 lines").await;
            peer.answer(answer).await
        })
        .await;
        let error = script.open().await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Capabilities, &kind), "{answer}");
        assert_eq!(script.heard().await, "EHLO client.test");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_that_cannot_judge_it() {
    let table = [
        ("535 5.7.8 authentication failed", Kind::CredentialsRefused),
        ("534 5.7.9 use an app password", Kind::CredentialsRefused),
        ("530 5.7.0 authentication required", Kind::CredentialsRefused),
        ("454 4.7.0 try later", Kind::TemporarilyRefused),
        ("421 4.3.0 bye", Kind::Unavailable),
        ("504 5.5.4 unknown mechanism", Kind::PermanentlyRefused),
        ("250 ok", Kind::Violation("its answer does not fit the question")),
    ];
    for (answer, kind) in table {
        let script = Script::play(Tls::Implicit, async move |mut peer: Peer| {
            peer.say("220 x").await;
            peer.answer("250-x\n250 AUTH PLAIN LOGIN").await;
            peer.answer(answer).await;
            peer.hear().await
        })
        .await;
        let error = script.open().await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &kind), "{answer}");
        assert_eq!(script.heard().await, "(closed)");
    }
}

#[tokio::test]
async fn a_server_that_says_the_password_back_is_not_quoted() {
    for echo in ["535 5.7.8 bad: AGFubmEAcGFzcw==", "535 no `pass` for you", "AGFubmEAcGFzcw=="] {
        let script = Script::play(Tls::Implicit, async move |mut peer: Peer| {
            peer.say("220 x").await;
            peer.answer("250-x\n250 AUTH PLAIN").await;
            peer.answer(echo).await
        })
        .await;
        assert_eq!(script.open().await.unwrap_err().said(), None, "{echo}");
    }
}

#[tokio::test]
async fn login_is_used_where_only_login_is_offered() {
    let script = Script::play(Tls::Implicit, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250 AUTH=LOGIN CRAM-MD5").await;
        [
            peer.answer("334 VXNlcm5hbWU6").await,
            peer.answer("334 UGFzc3dvcmQ6").await,
            peer.answer("235 ok").await,
            peer.answer("221 bye").await,
        ]
    })
    .await;
    script.open().await.unwrap().quit().await;
    assert_eq!(script.heard().await, ["AUTH LOGIN", "YW5uYQ==", "cGFzcw==", "QUIT"]);
}

#[tokio::test]
async fn no_mechanism_in_common_is_said_with_what_the_server_offers() {
    let script = Script::play(Tls::Implicit, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250 AUTH GSSAPI XOAUTH2").await;
        peer.hear().await
    })
    .await;
    let error = script.open().await.unwrap_err();
    assert_eq!((error.phase(), error.said()), (Phase::SignIn, Some("GSSAPI XOAUTH2")));
    assert!(matches!(error.kind(), Kind::Unsupported(_)));
    assert_eq!(script.heard().await, "(closed)");
}

#[tokio::test]
async fn starttls_forgets_what_was_announced_in_the_clear() {
    let script = Script::play(Tls::StartTls, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250-STARTTLS\n250-PIPELINING\n250 AUTH PLAIN").await;
        let first = peer.answer("220 go").await;
        let mut peer = peer.start_tls().await;
        let second = peer.answer("250-x\n250 AUTH PLAIN").await;
        peer.answer("235 ok").await;
        (first, second)
    })
    .await;
    let session = script.open().await.unwrap();
    assert!(!session.capabilities().pipelining);
    assert_eq!(script.heard().await, ("STARTTLS".into(), "EHLO client.test".into()));
}

#[tokio::test]
async fn without_starttls_nothing_secret_is_said() {
    let script = Script::play(Tls::StartTls, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250 AUTH PLAIN").await;
        peer.hear().await
    })
    .await;
    let error = script.open().await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::StartTls, &Kind::TlsNotOffered));
    assert_eq!(script.heard().await, "(closed)");

    let script = Script::play(Tls::StartTls, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250 STARTTLS").await;
        peer.answer("454 4.7.0 not now").await;
        peer.hear().await
    })
    .await;
    assert_eq!(script.open().await.unwrap_err().kind(), &Kind::TemporarilyRefused);
    assert_eq!(script.heard().await, "(closed)");
}

#[tokio::test]
async fn answers_slipped_in_before_tls_end_the_session() {
    let script = Script::play(Tls::StartTls, async |mut peer: Peer| {
        peer.say("220 x").await;
        peer.answer("250-x\n250 STARTTLS").await;
        peer.answer("220 go\n250 AUTH PLAIN").await;
        peer.hear().await
    })
    .await;
    let error = script.open().await.unwrap_err();
    assert_eq!(error.phase(), Phase::StartTls);
    assert!(matches!(error.kind(), Kind::Violation(_)));
    assert_eq!(script.heard().await, "(closed)");
}

#[tokio::test]
async fn a_probe_tells_what_was_said_at_each_step_and_sends_nothing() {
    let table = [
        (vec!["250 ok", "250 2.1.5 ok", "250 reset"], true, None),
        (vec!["250 ok", "550 5.1.1 unknown", "250 reset"], false, Some(550)),
        (vec!["553 5.7.1 not yours", "250 reset"], false, Some(553)),
        (vec!["250 ok", "450 4.2.0 later", "250 reset"], false, Some(450)),
    ];
    for (answers, accepted, refusal) in table {
        let last = answers.len() - 1;
        let script = Script::signed_in("PIPELINING", async move |mut peer: Peer| {
            let mut heard = Vec::new();
            for answer in answers {
                heard.push(peer.answer(answer).await);
            }
            heard
        })
        .await;
        let mut session = script.open().await.unwrap();
        let probe = session.probe(&"anna@example.org".parse().unwrap()).await.unwrap();
        assert_eq!((probe.accepted(), probe.refusal().map(Reply::code)), (accepted, refusal));
        let heard = script.heard().await;
        let said = ["MAIL FROM:<anna@example.org>", "RCPT TO:<anna@example.org>"];
        assert_eq!(heard[..last], said[..last]);
        assert_eq!(heard[last], "RSET");
    }
}

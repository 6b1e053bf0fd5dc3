//! From nothing to a signed-in session: what is refused, and how it is told apart.

use std::time::Duration;

use mail::Error;
use mail::error::{Distrust, Kind, Phase};
use mail::pop3::{Limits, Session};
use mail::transport::{Connection, Settings, Trust};
use model::endpoint::{Endpoint, Tls};
use model::network::NetworkPolicy;
use model::secret::Secret;
use rcgen::{BasicConstraints, CertificateParams, IsCa};
use tokio_rustls::rustls::HandshakeKind;

use crate::pop3_script::{SLOW, Scripted, Talk, USUAL, settings};

/// Ample time, for what must succeed or fail by itself.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);
/// Little time, for what must fail by it.
pub(crate) const LITTLE: Duration = Duration::from_millis(400);

pub(crate) const LIMITS: Limits =
    Limits { max_entries: 20_000, drain_bytes: 100_000, message_deadline: AMPLE, pipelining: true };

pub(crate) async fn sign_in(server: &Scripted) -> Result<Session, Error> {
    sign_in_with(&server.endpoint, &server.settings(AMPLE)).await
}

pub(crate) async fn sign_in_with(endpoint: &Endpoint, settings: &Settings) -> Result<Session, Error> {
    let password = Secret::from("open sesame".to_owned());
    Session::sign_in(endpoint, settings, LIMITS, "anna", &password).await
}

/// The error that a sign-in to this script ends with.
async fn refused<F: Future<Output = ()> + Send>(
    tls: Tls,
    script: impl Fn(Talk) -> F + Send + Sync + 'static,
) -> (Error, Vec<String>) {
    let server = Scripted::start(tls, script).await;
    let error = sign_in(&server).await.unwrap_err();
    (error, server.heard())
}

#[tokio::test]
async fn every_response_code_at_sign_in_is_told_apart() {
    for (said, kind, retry_after) in [
        ("-ERR [AUTH] wrong", Kind::CredentialsRefused, None),
        ("-ERR [IN-USE] another session", Kind::Locked, None),
        ("-ERR [LOGIN-DELAY] too soon", Kind::LoginDelay, Some(Duration::from_mins(2))),
        ("-ERR [SYS/TEMP] disk trouble", Kind::TemporarilyRefused, None),
        ("-ERR [SYS/PERM] ask us", Kind::PermanentlyRefused, None),
        ("-ERR no", Kind::TemporarilyRefused, None),
        ("-ERR maildrop already locked", Kind::Locked, None),
    ] {
        let (error, _) = refused(Tls::Implicit, move |mut talk| async move {
            talk.say("+OK\r\n").await;
            talk.answer(format!("+OK\r\n{USUAL}LOGIN-DELAY 120\r\n.\r\n")).await;
            talk.answer(format!("{said}\r\n")).await;
            talk.answer("+OK\r\n.\r\n").await;
            talk.hear().await;
        })
        .await;
        assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &kind), "{said}");
        assert_eq!(error.said(), Some(&said[5..]));
        assert_eq!(error.retry_after(), retry_after, "{said}");
    }
}

#[tokio::test]
async fn a_server_without_response_codes_means_the_credentials_unless_it_says_otherwise() {
    for (said, kind) in [
        ("-ERR no", Kind::CredentialsRefused),
        ("-ERR mailbox is in use", Kind::Locked),
        ("-ERR please try again later", Kind::TemporarilyRefused),
    ] {
        let (error, heard) = refused(Tls::Implicit, move |mut talk| async move {
            talk.say("+OK\r\n").await;
            talk.answer("-ERR what?\r\n").await;
            talk.answer("+OK\r\n").await;
            talk.answer(format!("{said}\r\n")).await;
            talk.hear().await;
        })
        .await;
        assert_eq!(error.kind(), &kind, "{said}");
        assert_eq!(heard, ["CAPA", "USER anna", "PASS open sesame"]);
    }
}

#[tokio::test]
async fn a_greeting_that_refuses_is_the_servers_failure() {
    let (error, _) = refused(Tls::Implicit, |mut talk| async move {
        talk.say("-ERR [SYS/TEMP] too many connections\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!((error.phase(), error.kind()), (Phase::Greeting, &Kind::TemporarilyRefused));
    let (error, _) = refused(Tls::Implicit, |mut talk| async move {
        talk.say("220 mail.example ESMTP\r\n").await;
        talk.hear().await;
    })
    .await;
    assert!(matches!(error.kind(), Kind::Violation(_)));
    assert_eq!((error.phase(), error.said()), (Phase::Greeting, Some("220 mail.example ESMTP")));
}

#[tokio::test]
async fn a_server_without_starttls_never_hears_a_credential() {
    let (error, heard) = refused(Tls::StartTls, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer(format!("+OK\r\n{USUAL}.\r\n")).await;
        talk.hear().await;
    })
    .await;
    assert_eq!((error.phase(), error.kind()), (Phase::StartTls, &Kind::TlsNotOffered));
    assert_eq!(heard, ["CAPA"]);
    let (error, heard) = refused(Tls::StartTls, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\nSTLS\r\n.\r\n").await;
        talk.answer("-ERR not today\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!(error.kind(), &Kind::TlsNotOffered);
    assert_eq!(heard, ["CAPA", "STLS"]);
}

#[tokio::test]
async fn words_injected_after_the_go_ahead_for_tls_end_the_session() {
    let (error, heard) = refused(Tls::StartTls, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\nSTLS\r\n.\r\n").await;
        talk.answer("+OK\r\n+OK\r\nSASL PLAIN\r\n.\r\n").await;
        talk.hear().await;
    })
    .await;
    assert_eq!(error.phase(), Phase::StartTls);
    assert!(matches!(error.kind(), Kind::Violation(_)));
    assert_eq!(heard, ["CAPA", "STLS"]);
}

#[tokio::test]
async fn capabilities_are_asked_again_inside_tls_and_after_sign_in() {
    let server = Scripted::start(Tls::StartTls, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\nSTLS\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n").await;
        talk.answer("+OK\r\n").await;
        talk.upgrade().await;
        talk.answer("+OK\r\nUSER\r\nUTF8 USER\r\n.\r\n").await;
        talk.answer("+OK utf8\r\n").await;
        talk.answer("+OK\r\n").await;
        talk.answer("+OK\r\n").await;
        talk.answer("+OK\r\nUSER\r\nLOGIN-DELAY 30\r\nEXPIRE 7\r\n.\r\n").await;
        talk.hear().await;
    })
    .await;
    let session = sign_in(&server).await.unwrap();
    assert!(!session.capabilities().pipelining && !session.capabilities().offers("PLAIN"));
    assert_eq!(session.capabilities().login_delay, Some(Duration::from_secs(30)));
    assert_eq!(server.heard(), ["CAPA", "STLS", "CAPA", "UTF8", "USER anna", "PASS open sesame", "CAPA"]);
}

#[tokio::test]
async fn a_long_password_travels_on_a_line_of_its_own() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\nSASL PLAIN\r\n.\r\n").await;
        talk.answer("+ \r\n").await;
        talk.answer("+OK\r\n").await;
        talk.answer("-ERR\r\n").await;
        talk.hear().await;
    })
    .await;
    let password = Secret::from("ü".repeat(200));
    let session =
        Session::sign_in(&server.endpoint, &server.settings(AMPLE), LIMITS, "anna", &password).await.unwrap();
    assert!(session.capabilities().offers("PLAIN"));
    let heard = server.heard();
    assert_eq!(heard[1], "AUTH PLAIN");
    assert!(heard[2].len() > 255);
}

#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_quoted() {
    let late = format!("-ERR {} open sesame", "-".repeat(495));
    for echo in ["-ERR [AUTH] bad command: PASS open sesame", "what is open sesame", &late] {
        let echo = format!("{echo}\r\n");
        let (error, _) = refused(Tls::Implicit, move |mut talk| {
            let echo = echo.clone();
            async move {
                talk.say("+OK\r\n").await;
                talk.answer("+OK\r\nUSER\r\n.\r\n").await;
                talk.answer("+OK\r\n").await;
                talk.answer(echo).await;
                talk.hear().await;
            }
        })
        .await;
        assert_eq!(error.said(), None);
    }
}

#[tokio::test]
async fn a_server_that_dribbles_does_not_outlast_the_phase() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.hear().await;
        talk.say("+OK\r\n").await;
        for _ in 0..200 {
            talk.say("X").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let error = sign_in_with(&server.endpoint, &server.settings(LITTLE)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Capabilities, &Kind::TimedOut));
}

#[tokio::test]
async fn lines_and_lists_without_an_end_are_violations() {
    let (error, _) = refused(Tls::Implicit, |mut talk| async move {
        loop {
            talk.say([b'+'; 5000]).await;
            if talk.is_quiet().await {
                continue;
            }
            break;
        }
    })
    .await;
    assert_eq!((error.phase(), error.kind()), (Phase::Greeting, &Kind::Violation("its line has no end")));
    let (error, _) = refused(Tls::Implicit, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\n").await;
        talk.say("X-MORE\r\n".repeat(1000)).await;
        talk.hear().await;
    })
    .await;
    assert_eq!(error.phase(), Phase::Capabilities);
    assert!(matches!(error.kind(), Kind::Violation(_)));
}

#[tokio::test]
async fn tls_on_a_plain_port_and_the_reverse_are_understood() {
    let plain = Scripted::start(Tls::StartTls, |mut talk| async move {
        talk.say("+OK plain POP3 here\r\n").await;
        talk.hear().await;
    })
    .await;
    let wrong = Endpoint { tls: Tls::Implicit, ..plain.endpoint.clone() };
    let error = sign_in_with(&wrong, &plain.settings(AMPLE)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Tls, &Kind::TlsOnPlain));
    assert_eq!(error.said(), Some("+OK plain POP3 here"));
    assert!(error.to_string().contains("choose STARTTLS"));

    let private = Scripted::start(Tls::Implicit, |mut talk| async move { talk.welcome(USUAL).await }).await;
    let wrong = Endpoint { tls: Tls::StartTls, ..private.endpoint.clone() };
    for trusted in [private.settings(LITTLE), settings(None, LITTLE)] {
        let error = sign_in_with(&wrong, &trusted).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::Greeting, &Kind::PlainOnTls));
        assert!(error.to_string().contains("choose implicit TLS"));
    }
    assert!(private.heard().is_empty());
}

#[tokio::test]
async fn a_silent_plain_server_is_only_slow() {
    let server = Scripted::start(Tls::StartTls, |mut talk| async move {
        talk.hear().await;
        talk.was_reset().await;
    })
    .await;
    let error = sign_in_with(&server.endpoint, &server.settings(LITTLE)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Greeting, &Kind::TimedOut));
}

#[tokio::test]
async fn a_certificate_is_judged_by_issuer_and_host() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move { talk.welcome(USUAL).await }).await;
    let error = sign_in_with(&server.endpoint, &settings(None, AMPLE)).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::UnknownIssuer));
    let server =
        Scripted::start_as(
            "mail.example",
            Tls::Implicit,
            |mut talk| async move { talk.welcome(USUAL).await },
        )
        .await;
    let error = sign_in(&server).await.unwrap_err();
    assert_eq!(
        (error.phase(), error.kind()),
        (Phase::Tls, &Kind::CertificateNotTrusted(Distrust::WrongHost))
    );
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn a_certificate_is_judged_by_its_time_and_its_use() {
    let usual = || CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let mut expired = usual();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut early = usual();
    early.not_before = rcgen::date_time_ymd(4000, 1, 1);
    let mut authority = usual();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for (parameters, distrust) in [
        (expired, Distrust::Expired),
        (early, Distrust::NotYetValid),
        (authority, Distrust::AuthorityAsServer),
    ] {
        let server = Scripted::start_certified(&parameters, Tls::Implicit, |mut talk| async move {
            talk.welcome(USUAL).await;
        })
        .await;
        let error = sign_in(&server).await.unwrap_err();
        assert_eq!(error.kind(), &Kind::CertificateNotTrusted(distrust));
    }
}

#[tokio::test]
async fn a_server_that_asks_again_for_what_it_was_given_is_humoured() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.say("+OK\r\n").await;
        talk.answer("+OK\r\nSASL PLAIN\r\n.\r\n").await;
        talk.answer("+\r\n").await;
        talk.answer("+OK\r\n").await;
        talk.answer("-ERR\r\n").await;
        talk.hear().await;
    })
    .await;
    let _session = sign_in(&server).await.unwrap();
    let response = "AGFubmEAb3BlbiBzZXNhbWU=";
    assert_eq!(server.heard(), ["CAPA", &format!("AUTH PLAIN {response}"), response, "CAPA"]);
}

#[tokio::test]
async fn a_closed_network_a_closed_port_and_a_name_of_nothing_are_told_apart() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move { talk.welcome(USUAL).await }).await;
    let closed = Settings { network: NetworkPolicy::default(), ..server.settings(AMPLE) };
    for host in ["127.0.0.1", "localhost", "[::1]", "0x7f.1"] {
        let endpoint = Endpoint { host: host.to_owned(), ..server.endpoint.clone() };
        let error = Connection::open(&endpoint, &closed).await.unwrap_err();
        assert_eq!(error.phase(), Phase::Resolve, "{host}");
        assert!(matches!(error.kind(), Kind::ForbiddenAddress { class: "loopback", .. }), "{host}: {error}");
        assert!(error.to_string().contains("network.allow"));
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = Endpoint { port, ..server.endpoint.clone() };
    let error = Connection::open(&endpoint, &server.settings(AMPLE)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Connect, &Kind::Refused));
    let endpoint = Endpoint { host: "no such host".to_owned(), ..server.endpoint.clone() };
    let error = Connection::open(&endpoint, &server.settings(AMPLE)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Resolve, &Kind::Unresolvable));
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn the_next_connection_resumes_the_tls_session_unless_trust_is_another() {
    let server = Scripted::start(Tls::Implicit, |mut talk| async move {
        talk.welcome(SLOW).await;
        talk.hear().await;
    })
    .await;
    let trust = Trust::system();
    let known = Settings { tls: trust.for_profile(Some(&server.ca_pem)).unwrap(), ..server.settings(AMPLE) };
    for _ in 0..3 {
        // Each asks the trust anew, as each cycle does.
        let tls = trust.for_profile(Some(&server.ca_pem)).unwrap();
        sign_in_with(&server.endpoint, &Settings { tls, ..known.clone() }).await.unwrap();
    }
    sign_in_with(&server.endpoint, &server.settings(AMPLE)).await.unwrap();
    assert_eq!(
        server.handshakes(),
        [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed, HandshakeKind::Full]
    );
}

#[tokio::test]
async fn a_dropped_session_resets_its_connection_and_quit_does_not() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(Tls::Implicit, move |mut talk| {
        let tell = tell.clone();
        async move {
            talk.welcome(SLOW).await;
            talk.answer("+OK\r\n").await;
            tell.send(talk.was_reset().await).unwrap();
        }
    })
    .await;
    let mut session = sign_in(&server).await.unwrap();
    session.reset().await.unwrap();
    session.drop_without_quit();
    assert_eq!(told.recv().await, Some(true));
    let session = sign_in(&server).await.unwrap();
    assert!(session.quit().await.unwrap());
    assert_eq!(told.recv().await, Some(false));
    assert_eq!(server.heard().iter().filter(|line| *line == "QUIT").count(), 1);
}

//! The SMTP client against a real Postfix, and what arrives at a real Dovecot behind it.

use std::time::Duration;

use mail::Error;
use mail::error::{Distrust, Kind, Phase};
use mail::smtp::{Envelope, Outcome, RecipientState, Session, SizeLimit, Step, Submission, whole};
use mail::transport::Trust;
use model::address::EmailAddress;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::secret::Secret;
use servers::{MailOptions, MailServers};
use tokio::sync::OnceCell;

use super::smtp_script::settings;

const LIMIT: u64 = 200_000;
const PASSWORD: &str = "correct horse";

static SERVERS: OnceCell<MailServers> = OnceCell::const_new();

/// One provider for all tests here: each uses its own domain.
async fn servers() -> &'static MailServers {
    SERVERS.get_or_init(|| MailServers::start_with(MailOptions::default().message_size_limit(LIMIT))).await
}

fn endpoint(servers: &MailServers, tls: Tls) -> Endpoint {
    let port = match tls {
        Tls::Implicit => servers.submissions_port,
        Tls::StartTls => servers.submission_port,
    };
    Endpoint { protocol: Protocol::Smtp, host: "127.0.0.1".into(), port, tls }
}

async fn open(servers: &MailServers, tls: Tls, login: &str, password: &str) -> Result<Session, Error> {
    let trust = Trust::system().for_profile(Some(servers.ca_pem().as_bytes())).unwrap();
    Session::open(&endpoint(servers, tls), &settings(trust), login, &Secret::from(password)).await
}

fn envelope(from: &str, recipients: &[&str], message: &[u8]) -> Envelope {
    Envelope {
        from: from.parse().unwrap(),
        recipients: recipients.iter().map(|to| to.parse().unwrap()).collect(),
        size: message.len() as u64,
        eight_bit: !message.is_ascii(),
        utf8: false,
        reports: None,
    }
}

async fn submit(session: &mut Session, from: &str, to: &[&str], message: &str) -> Result<Submission, Error> {
    let envelope = envelope(from, to, message.as_bytes());
    session.submit(&envelope, whole(message.as_bytes()), async { Ok(()) }).await
}

/// Waits until a mailbox has this many messages.
async fn arrived(servers: &MailServers, address: &str, count: usize) -> Vec<String> {
    for _ in 0..1200 {
        let messages = servers.messages(address);
        assert!(messages.len() <= count, "{address} has {} messages and should have {count}", messages.len());
        if messages.len() == count {
            let text = |message: &Vec<u8>| String::from_utf8_lossy(message).replace("\r\n", "\n");
            return messages.iter().map(text).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the messages for {address} did not arrive within a minute");
}

fn message(number: usize, body: &str) -> String {
    format!("From: anna@x.test\r\nTo: b@x.test\r\nSubject: number {number}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_message_reaches_all_its_recipients_byte_for_byte_by_both_ways_to_tls() {
    let servers = servers().await;
    let people = ["a@all.test", "b@all.test", "c@all.test", "hidden@all.test"];
    for address in people {
        servers.add_mailbox(address, PASSWORD);
    }
    let body = "first\r\n.\r\n..two dots\r\n.one\r\nbare\nline\rends\r\nümläute\r\nno end";
    for (round, tls) in [Tls::Implicit, Tls::StartTls].into_iter().enumerate() {
        let mut session = open(servers, tls, "a@all.test", PASSWORD).await.unwrap();
        let announced = session.capabilities().clone();
        assert!(
            announced.pipelining && announced.eight_bit_mime && announced.smtp_utf8 && announced.auth_plain
        );
        assert_eq!(announced.size, SizeLimit::AtMost(LIMIT));
        let submission =
            submit(&mut session, "a@all.test", &people[1..], &message(round, body)).await.unwrap();
        assert!(matches!(&submission.outcome, Outcome::Sent(reply) if reply.text().contains("queued")));
        assert_eq!(submission.accepted(), 3);
        session.quit().await;
        for person in &people[1..] {
            let messages = arrived(servers, person, round + 1).await;
            let last = messages.iter().find(|text| text.contains(&format!("number {round}"))).unwrap();
            let (head, text) = last.split_once("\n\n").unwrap();
            assert_eq!(text, "first\n.\n..two dots\n.one\nbare\nline\nends\nümläute\nno end\n");
            assert!(
                !head.contains("hidden@all.test") || *person == "hidden@all.test",
                "nobody else sees a Bcc"
            );
        }
    }
    assert!(servers.messages("a@all.test").is_empty());
}

#[tokio::test]
async fn two_hundred_messages_go_over_one_connection() {
    let servers = servers().await;
    servers.add_mailbox("a@many.test", PASSWORD);
    servers.add_mailbox("b@many.test", PASSWORD);
    let mut session = open(servers, Tls::Implicit, "a@many.test", PASSWORD).await.unwrap();
    for number in 0..200 {
        let submission =
            submit(&mut session, "a@many.test", &["b@many.test"], &message(number, ".\r\nx\r\n"))
                .await
                .unwrap();
        assert!(matches!(submission.outcome, Outcome::Sent(_)));
        assert!(session.is_open());
    }
    session.quit().await;
    let mut numbers: Vec<String> = arrived(servers, "b@many.test", 200)
        .await
        .iter()
        .map(|text| text.split_once("number ").unwrap().1.split('\n').next().unwrap().to_owned())
        .collect();
    numbers.sort_unstable_by_key(|number| number.parse::<usize>().unwrap());
    assert_eq!(numbers, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_recipient_refused_of_three_does_not_keep_the_others_from_it() {
    let servers = servers().await;
    let people = ["a@some.test", "no@some.test", "later@some.test"];
    for address in people {
        servers.add_mailbox(address, PASSWORD);
    }
    servers.refuse_recipient("no@some.test", Some("550 5.1.1 who is that"));
    servers.refuse_recipient("later@some.test", Some("450 4.2.0 greylisted"));
    let mut session = open(servers, Tls::StartTls, "a@some.test", PASSWORD).await.unwrap();
    let submission = submit(&mut session, "a@some.test", &people, &message(1, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Sent(_)));
    let [RecipientState::Accepted(_), RecipientState::Refused(no), RecipientState::Deferred(later)] =
        &submission.recipients[..]
    else {
        panic!("{submission:?}")
    };
    assert_eq!((no.code(), no.enhanced().unwrap().to_string().as_str()), (550, "5.1.1"));
    assert!(no.text().contains("who is that"));
    assert_eq!((later.code(), later.enhanced().unwrap().to_string().as_str()), (450, "4.2.0"));
    arrived(servers, "a@some.test", 1).await;

    // Nobody left: no message, and the session goes on.
    let submission = submit(&mut session, "a@some.test", &people[1..], &message(2, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Refused { step: Step::Recipients, .. }));
    let submission = submit(&mut session, "a@some.test", &["a@some.test"], &message(3, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Sent(_)));
    arrived(servers, "a@some.test", 2).await;
    assert!(servers.messages("no@some.test").is_empty() && servers.messages("later@some.test").is_empty());
}

#[tokio::test]
async fn a_message_refused_after_the_dot_reached_nobody_and_the_next_one_goes() {
    let servers = servers().await;
    servers.add_mailbox("a@spam.test", PASSWORD);
    let mut session = open(servers, Tls::Implicit, "a@spam.test", PASSWORD).await.unwrap();
    for (reply, permanent) in [("554 5.7.1 smells of spam", true), ("451 4.7.1 ask again", false)] {
        servers.refuse_messages_from("a@spam.test", Some(reply));
        let submission =
            submit(&mut session, "a@spam.test", &["a@spam.test"], &message(1, "x")).await.unwrap();
        assert!(matches!(submission.outcome, Outcome::Refused { step: Step::Message, .. }));
        assert_eq!(matches!(submission.recipients[..], [RecipientState::Refused(_)]), permanent);
        assert_eq!(matches!(submission.recipients[..], [RecipientState::Deferred(_)]), !permanent);
    }
    servers.refuse_messages_from("a@spam.test", None);
    let submission = submit(&mut session, "a@spam.test", &["a@spam.test"], &message(2, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Sent(_)));
    assert!(arrived(servers, "a@spam.test", 1).await[0].contains("number 2"));
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_leaves_and_by_the_server_when_it_does() {
    let servers = servers().await;
    servers.add_mailbox("a@big.test", PASSWORD);
    let mut session = open(servers, Tls::Implicit, "a@big.test", PASSWORD).await.unwrap();
    let big = message(1, &"0123456789abcde\r\n".repeat(20_000));
    let error = submit(&mut session, "a@big.test", &["a@big.test"], &big).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::OverSize { size: big.len() as u64, limit: LIMIT });

    // A size that was understated is found out by the server, at the end.
    let understated = Envelope { size: 10, ..envelope("a@big.test", &["a@big.test"], b"") };
    let submission: Submission =
        session.submit::<_, Error>(&understated, whole(big.as_bytes()), async { Ok(()) }).await.unwrap();
    let Outcome::Refused { step: Step::Message, reply } = &submission.outcome else {
        panic!("{submission:?}")
    };
    assert_eq!((reply.code(), reply.enhanced().unwrap().to_string().as_str()), (552, "5.3.4"));
    assert!(matches!(submission.recipients[..], [RecipientState::Refused(_)]));
    assert!(session.is_open());
    session.noop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_the_credentials_fault() {
    let servers = servers().await;
    servers.add_mailbox("a@wrong.test", PASSWORD);
    for tls in [Tls::Implicit, Tls::StartTls] {
        let error = open(servers, tls, "a@wrong.test", "guess").await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
        assert!(error.said().unwrap().starts_with("535 5.7.8"), "{:?}", error.said());
        assert!(!format!("{error:?} {error}").contains("guess"));
    }
}

#[tokio::test]
async fn an_authority_that_the_profile_does_not_name_is_not_trusted() {
    let servers = servers().await;
    for tls in [Tls::Implicit, Tls::StartTls] {
        let settings = settings(Trust::system().for_profile(None).unwrap());
        let error =
            Session::open(&endpoint(servers, tls), &settings, "a@x.test", &"x".into()).await.unwrap_err();
        assert_eq!(
            (error.phase(), error.kind()),
            (Phase::Tls, &Kind::CertificateNotTrusted(Distrust::UnknownIssuer))
        );
    }
}

#[tokio::test]
async fn a_tls_port_taken_for_a_plain_one_and_the_reverse_are_named() {
    let servers = servers().await;
    let trust = Trust::system().for_profile(Some(servers.ca_pem().as_bytes())).unwrap();
    let mut settings = settings(trust);
    settings.transport.phase_deadline = Duration::from_secs(4);
    for (tls, port, kind) in [
        (Tls::StartTls, servers.submissions_port, Kind::PlainOnTls),
        (Tls::Implicit, servers.submission_port, Kind::TlsOnPlain),
    ] {
        let endpoint = Endpoint { port, ..endpoint(servers, tls) };
        let error = Session::open(&endpoint, &settings, "a@x.test", &"x".into()).await.unwrap_err();
        assert_eq!(error.kind(), &kind);
    }
}

#[tokio::test]
async fn a_probe_says_what_the_server_says_and_leaves_nothing_behind() {
    let servers = servers().await;
    servers.add_mailbox("a@probe.test", PASSWORD);
    let address: EmailAddress = "a@probe.test".parse().unwrap();
    let mut session = open(servers, Tls::Implicit, "a@probe.test", PASSWORD).await.unwrap();
    let probe = session.probe(&address).await.unwrap();
    assert!(probe.accepted() && probe.refusal().is_none());
    servers.refuse_recipient("a@probe.test", Some("550 5.1.1 moved away"));
    let probe = session.probe(&address).await.unwrap();
    assert!(probe.refusal().unwrap().text().contains("moved away"));
    servers.refuse_recipient("a@probe.test", None);
    // The same session then sends: the probe's transaction is forgotten.
    let submission = submit(&mut session, "a@probe.test", &["a@probe.test"], &message(1, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Sent(_)));
    assert_eq!(arrived(servers, "a@probe.test", 1).await.len(), 1);
}

#[tokio::test]
async fn addresses_beyond_ascii_travel_where_smtputf8_is_offered() {
    let servers = servers().await;
    servers.add_mailbox("a@intl.test", PASSWORD);
    servers.add_mailbox("jörg@intl.test", PASSWORD);
    let mut session = open(servers, Tls::Implicit, "a@intl.test", PASSWORD).await.unwrap();
    let submission =
        submit(&mut session, "a@intl.test", &["jörg@intl.test"], &message(1, "x")).await.unwrap();
    assert!(matches!(submission.outcome, Outcome::Sent(_)), "{submission:?}");
}

//! POP3 against a real Dovecot, with a mailbox of its own for each test.

use std::time::Duration;

use mail::Error;
use mail::error::{Distrust, Kind, Phase};
use mail::pop3::{Fetched, Listed, Session};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::secret::Secret;
use servers::MailServers;
use tokio::sync::OnceCell;

use crate::pop3_opening::{AMPLE, LIMITS};
use crate::pop3_script::settings;

const PASSWORD: &str = "correct horse";

/// One provider for all tests of this file; it ends with the process.
async fn provider() -> &'static MailServers {
    static PROVIDER: OnceCell<MailServers> = OnceCell::const_new();
    PROVIDER.get_or_init(MailServers::start).await
}

fn endpoint(provider: &MailServers, host: &str, tls: Tls) -> Endpoint {
    let port = if tls == Tls::Implicit { provider.pop3s_port } else { provider.pop3_port };
    Endpoint { protocol: Protocol::Pop3, host: host.to_owned(), port, tls }
}

async fn sign_in(
    endpoint: &Endpoint,
    ca: Option<&str>,
    login: &str,
    password: &str,
) -> Result<Session, Error> {
    let secret = Secret::from(password.to_owned());
    Session::sign_in(endpoint, &settings(ca.map(str::as_bytes), AMPLE), LIMITS, login, &secret).await
}

/// A session of a mailbox with these messages.
async fn session_with(address: &str, messages: &[Vec<u8>]) -> Session {
    let provider = provider().await;
    provider.add_mailbox(address, PASSWORD);
    for message in messages {
        provider.deliver(address, message);
    }
    again(address).await
}

async fn again(address: &str) -> Session {
    let provider = provider().await;
    let endpoint = endpoint(provider, "127.0.0.1", Tls::Implicit);
    sign_in(&endpoint, Some(provider.ca_pem()), address, PASSWORD).await.unwrap()
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    let message = |n: usize| {
        format!(
            "Subject: {n}\r\nMessage-ID: <{n}@lockstep.test>\r\n\r\n.line\r\n..\r\n{}\r\n",
            "x".repeat(n % 700)
        )
    };
    (0..count).map(|n| message(n).into_bytes()).collect()
}

async fn all(session: &mut Session, listed: &[Listed], window: usize) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut fetching = session.retrieve_many(listed, window, 1_000_000);
    while let Some((item, fetched)) = fetching.next().await.unwrap() {
        let Fetched::Whole(raw) = fetched else { panic!("message {} was not given", item.number) };
        assert_eq!(raw.len() as u64, item.size, "the size in the listing is that of the message");
        whole.push(raw.to_vec());
    }
    whole
}

#[tokio::test]
async fn stls_and_implicit_tls_both_lead_in_with_the_profiles_own_ca() {
    let provider = provider().await;
    provider.add_mailbox("doors@lockstep.test", PASSWORD);
    for tls in [Tls::StartTls, Tls::Implicit] {
        for host in ["127.0.0.1", "localhost"] {
            let endpoint = endpoint(provider, host, tls);
            let mut session =
                sign_in(&endpoint, Some(provider.ca_pem()), "doors@lockstep.test", PASSWORD).await.unwrap();
            assert!(session.capabilities().pipelining && session.capabilities().uidl);
            assert_eq!(session.stat().await.unwrap().count, 0);
            assert_eq!(session.list().await.unwrap(), []);
            assert!(session.quit().await.unwrap());
        }
    }
}

#[tokio::test]
async fn without_the_ca_or_under_another_name_the_server_is_not_trusted() {
    let provider = provider().await;
    for tls in [Tls::StartTls, Tls::Implicit] {
        let error = sign_in(&endpoint(provider, "127.0.0.1", tls), None, "a", "b").await.unwrap_err();
        assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::UnknownIssuer));
        assert_eq!(error.phase(), Phase::Tls);
        // Resolves to the same address, and does not stand in the certificate.
        let endpoint = endpoint(provider, "127.1", tls);
        let error = sign_in(&endpoint, Some(provider.ca_pem()), "a", "b").await.unwrap_err();
        assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::WrongHost));
    }
}

#[tokio::test]
async fn tls_on_the_plain_port_and_the_reverse_are_told_apart() {
    let provider = provider().await;
    let ca = Some(provider.ca_pem());
    let plain = Endpoint { port: provider.pop3_port, ..endpoint(provider, "127.0.0.1", Tls::Implicit) };
    let error = sign_in(&plain, ca, "a", "b").await.unwrap_err();
    assert_eq!(error.kind(), &Kind::TlsOnPlain);
    let private = Endpoint { port: provider.pop3s_port, ..endpoint(provider, "127.0.0.1", Tls::StartTls) };
    let quick = settings(ca.map(str::as_bytes), Duration::from_secs(2));
    let error =
        Session::sign_in(&private, &quick, LIMITS, "a", &Secret::from("b".to_owned())).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::PlainOnTls);
}

#[tokio::test]
async fn a_wrong_password_is_the_credentials_failure_until_it_is_right() {
    let provider = provider().await;
    provider.add_mailbox("locked-out@lockstep.test", PASSWORD);
    let endpoint = endpoint(provider, "127.0.0.1", Tls::Implicit);
    let ca = Some(provider.ca_pem());
    for (login, password) in [("locked-out@lockstep.test", "wrong"), ("nobody@lockstep.test", PASSWORD)] {
        let error = sign_in(&endpoint, ca, login, password).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
        assert!(error.said().is_some());
    }
    provider.set_password("locked-out@lockstep.test", "");
    provider.set_password("locked-out@lockstep.test", "wröng \"no more\"");
    sign_in(&endpoint, ca, "locked-out@lockstep.test", "wröng \"no more\"").await.unwrap();
}

#[tokio::test]
async fn a_thousand_messages_come_pipelined_and_one_by_one_exactly_as_they_are() {
    let messages = numbered(1000);
    let mut session = session_with("thousand@lockstep.test", &messages).await;
    let listed = session.list().await.unwrap();
    assert_eq!(listed.len(), 1000);
    let before = session.traffic();
    assert_eq!(all(&mut session, &listed, 32).await, messages);
    assert!(session.traffic().received > before.received);
    assert!(session.quit().await.unwrap());

    let mut session = again("thousand@lockstep.test").await;
    assert_eq!(session.list().await.unwrap(), listed, "the ids are the same in the next session");
    assert_eq!(all(&mut session, &listed, 1).await, messages);
    assert_eq!(all(&mut session, &listed, 5000).await, messages);
}

#[tokio::test]
async fn awkward_messages_keep_their_bytes() {
    let large: Vec<u8> =
        (0..40_000).flat_map(|n| format!(".{n} {}\r\n", "ü".repeat(n % 50)).into_bytes()).collect();
    let messages = [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n".to_vec(),
        b"\r\n".to_vec(),
        b"no header at all, \xff\xfe, \x01\r\n".to_vec(),
        [b"Subject: large\r\n\r\n".to_vec(), large].concat(),
    ];
    let mut session = session_with("awkward@lockstep.test", &messages).await;
    let listed = session.list().await.unwrap();
    assert_eq!(all_of(&mut session, &listed).await, messages);
    let mut streamed = Vec::new();
    let mut body = session.retrieve(4, u64::MAX).await.unwrap();
    while let Some(chunk) = body.chunk().await.unwrap() {
        streamed.extend_from_slice(&chunk);
    }
    assert_eq!(streamed, messages[3]);
    let header = session.top(4, 0, 10_000).await.unwrap();
    assert!(matches!(header, Fetched::Whole(raw) if raw == "Subject: large\r\n\r\n"));
}

async fn all_of(session: &mut Session, listed: &[Listed]) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    let mut fetching = session.retrieve_many(listed, 8, u64::MAX);
    while let Some((_, fetched)) = fetching.next().await.unwrap() {
        let Fetched::Whole(raw) = fetched else { panic!("a message was not given") };
        whole.push(raw.to_vec());
    }
    whole
}

#[tokio::test]
async fn what_is_deleted_is_gone_only_after_quit() {
    let mut session = session_with("deleted@lockstep.test", &numbered(5)).await;
    let listed = session.list().await.unwrap();
    assert!(session.dele_many(&[1, 2, 3]).await.unwrap().is_empty());
    session.drop_without_quit();

    let mut session = again("deleted@lockstep.test").await;
    assert_eq!(session.list().await.unwrap(), listed);
    session.dele(5).await.unwrap();
    assert!(session.dele(5).await.is_err());
    session.reset().await.unwrap();
    assert!(session.dele_many(&[2, 4]).await.unwrap().is_empty());
    assert!(session.quit().await.unwrap());

    let left = again("deleted@lockstep.test").await.list().await.unwrap();
    let uids = |listed: &[Listed]| listed.iter().map(|item| item.uid.clone()).collect::<Vec<_>>();
    assert_eq!(uids(&left), [0, 2, 4].map(|at| listed[at].uid.clone()));
}

#[tokio::test]
async fn a_message_over_the_cap_leaves_the_session_to_the_others() {
    let mut messages = numbered(3);
    messages[1] = [b"Subject: big\r\n\r\n".to_vec(), b"y".repeat(50_000), b"\r\n".to_vec()].concat();
    let mut session = session_with("cap@lockstep.test", &messages).await;
    let listed = session.list().await.unwrap();
    let mut fetching = session.retrieve_many(&listed, 10, 20_000);
    let mut large = Vec::new();
    while let Some((item, fetched)) = fetching.next().await.unwrap() {
        if matches!(fetched, Fetched::TooLarge) {
            large.push(item.number);
        }
    }
    assert_eq!(large, [2]);
    assert!(session.quit().await.unwrap());
}

//! Access tokens from a real token server, shown to a real Dovecot and a real Postfix that ask it about them; and what
//! no real server does, by a script.

use mail::error::{Distrust, Kind, Phase};
use mail::oauth::{self, Address, Application, Client, Grant, Tokens};
use mail::transport::Trust;
use mail::{Proof, pop3, smtp};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::network::NetworkPolicy;
use model::secret::{ExposeSecret as _, Secret};
use servers::{MailOptions, MailServers, TokenClient, TokenOptions};
use tokio::sync::OnceCell;

use crate::pop3_opening::{AMPLE, LIMITS};
use crate::{pop3_script, smtp_script};

const SECRET: &str = "a-secret-of-the-application-1234567";

async fn start(mechanisms: &'static str) -> MailServers {
    let service = TokenClient {
        id: "service".into(),
        secret: SECRET.into(),
        redirect: None,
        domain: "tokens.test".into(),
    };
    let tokens = TokenOptions { clients: vec![service], access_token_seconds: 600, mechanisms };
    let servers = MailServers::start_with(MailOptions::default().tokens(tokens)).await;
    servers.add_mailbox("anna@tokens.test", "unused");
    servers
}

/// Both mechanisms, as Google offers them.
async fn both() -> &'static MailServers {
    static SERVERS: OnceCell<MailServers> = OnceCell::const_new();
    SERVERS.get_or_init(|| start("xoauth2 oauthbearer")).await
}

/// XOAUTH2 alone, as Microsoft does.
async fn older() -> &'static MailServers {
    static SERVERS: OnceCell<MailServers> = OnceCell::const_new();
    SERVERS.get_or_init(|| start("xoauth2")).await
}

fn client() -> Client {
    Client::new(NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] }, Trust::system())
}

fn application(servers: &MailServers) -> Application {
    Application {
        token_address: Address::parse(&servers.tokens.as_ref().unwrap().token_url()).unwrap(),
        client_id: "service".into(),
        client_secret: Some(Secret::from(SECRET)),
        scopes: "mail".into(),
        ca_certificate: Some(servers.ca_pem().to_owned()),
    }
}

async fn token(servers: &MailServers) -> Tokens {
    client().token(&application(servers), Grant::ClientCredentials).await.unwrap()
}

async fn read(
    servers: &MailServers,
    tls: Tls,
    login: &str,
    token: &Secret,
) -> Result<pop3::Session, mail::Error> {
    let port = if tls == Tls::Implicit { servers.pop3s_port } else { servers.pop3_port };
    let endpoint = Endpoint { protocol: Protocol::Pop3, host: "127.0.0.1".into(), port, tls };
    let settings = pop3_script::settings(Some(servers.ca_pem().as_bytes()), AMPLE);
    pop3::Session::sign_in(&endpoint, &settings, LIMITS, login, Proof::Token(token)).await
}

async fn send(servers: &MailServers, login: &str, token: &Secret) -> Result<smtp::Session, mail::Error> {
    let port = servers.submissions_port;
    let endpoint = Endpoint { protocol: Protocol::Smtp, host: "127.0.0.1".into(), port, tls: Tls::Implicit };
    let trust = Trust::system().for_profile(Some(servers.ca_pem().as_bytes())).unwrap();
    smtp::Session::open(&endpoint, &smtp_script::settings(trust), login, Proof::Token(token)).await
}

#[tokio::test]
async fn a_token_opens_the_mailbox_for_reading_and_for_sending_by_either_mechanism() {
    for servers in [both().await, older().await] {
        let token = token(servers).await;
        for tls in [Tls::Implicit, Tls::StartTls] {
            let mut session = read(servers, tls, "anna@tokens.test", &token.access).await.unwrap();
            assert_eq!(session.list().await.unwrap(), []);
            assert!(session.quit().await.unwrap());
        }
        let sent = send(servers, "anna@tokens.test", &token.access).await;
        let mut session = sent.unwrap_or_else(|error| panic!("{error}: {:?}", error.said()));
        let probe = session.probe(&"anna@tokens.test".parse().unwrap()).await.unwrap();
        assert!(probe.refusal().is_none());
        session.quit().await;
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_the_credentials_failure_with_the_servers_words() {
    for servers in [both().await, older().await] {
        let good = token(servers).await.access;
        let bad = Secret::from("long-ago-0123456789abcdef0123456789abcdef");
        for (login, token) in [("anna@tokens.test", &bad), ("anna@elsewhere.test", &good)] {
            let errors = [
                read(servers, Tls::Implicit, login, token).await.unwrap_err(),
                send(servers, login, token).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(
                    (error.phase(), error.kind()),
                    (Phase::SignIn, &Kind::CredentialsRefused),
                    "{error}"
                );
                let said = error.said().unwrap();
                assert!(
                    said.contains("(401)") || said.contains("(400)") || said.contains("invalid_token"),
                    "{said}"
                );
                for shown in [said.to_owned(), error.to_string(), format!("{error:?}")] {
                    assert!(!shown.contains(token.expose_secret()), "{shown}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_token_server_says_no_in_its_own_words_and_ours_name_no_secret() {
    let servers = both().await;
    let wrong = Secret::from("not-the-secret-of-the-application");
    let wrong = Application { client_secret: Some(wrong), ..application(servers) };
    let refused = client().token(&wrong, Grant::ClientCredentials).await.err().unwrap();
    let oauth::Error::Refused(refusal) = &refused else { panic!("{refused}") };
    assert!(refusal.said().starts_with("invalid_client"), "{}", refusal.said());
    assert!(!refusal.needs_consent());
    let lost = Secret::from("a-refresh-token-that-never-was");
    let refused = client().token(&application(servers), Grant::Refresh(&lost)).await.err().unwrap();
    assert!(matches!(&refused, oauth::Error::Refused(_)), "{refused}");
}

#[tokio::test]
async fn a_token_server_is_reached_by_the_rules_of_mail_servers() {
    let servers = both().await;
    // No private network unless the operator allows it.
    let closed = Client::new(NetworkPolicy::default(), Trust::system());
    let error = closed.token(&application(servers), Grant::ClientCredentials).await.err().unwrap();
    let oauth::Error::Connection(error) = error else { panic!("{error}") };
    assert!(matches!(error.kind(), Kind::ForbiddenAddress { class: "loopback", .. }), "{error}");
    // Nobody is trusted for whom nobody vouches.
    let stranger = Application { ca_certificate: None, ..application(servers) };
    let error = client().token(&stranger, Grant::ClientCredentials).await.err().unwrap();
    let oauth::Error::Connection(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::UnknownIssuer));
    // What leads elsewhere, and what is no token server.
    let port = servers.tokens.as_ref().unwrap().port;
    for path in ["interaction/nothing", "control/counts"] {
        let address = Address::parse(&format!("https://127.0.0.1:{port}/{path}")).unwrap();
        let other = Application { token_address: address, ..application(servers) };
        let error = client().token(&other, Grant::ClientCredentials).await.err().unwrap();
        assert!(matches!(error, oauth::Error::Unusable(_) | oauth::Error::Refused(_)), "{error}");
    }
}

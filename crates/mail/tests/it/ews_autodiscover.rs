//! Autodiscover against servers that want the password: a canary in it must never be heard by anybody who may not hear it,
//! whatever leads there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail::Proof;
use mail::error::{Error, Kind, Phase};
use mail::ews::autodiscover::{Candidate, Credentials, Discovery, Led, Settings, discover_from};
use mail::ews::{Address, Schemes};
use model::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::ews_script::{CANARY, LOGIN, Say, Script, http, script};
use crate::pop3_script;

/// What the canary looks like to whoever hears it.
fn is_told(head: &str) -> bool {
    head.to_ascii_lowercase().contains("authorization")
}

fn settings(server: &Script) -> Settings {
    Settings {
        transport: pop3_script::settings(Some(server.authority.as_bytes()), Duration::from_secs(10)),
        schemes: Schemes { basic: true, ntlm: false },
        named: vec!["127.0.0.1".into()],
    }
}

fn pox(server: &Script) -> Candidate {
    Candidate::Pox(server.address.clone())
}

async fn discovered(candidates: Vec<Candidate>, settings: &Settings) -> Result<Discovery, Error> {
    let secret = Secret::from(CANARY);
    let credentials = Credentials { login: LOGIN, proof: Proof::Password(&secret) };
    let found = discover_from(candidates, &LOGIN.parse().unwrap(), settings, credentials).await;
    assert!(!format!("{found:?}").contains(CANARY));
    found
}

fn account(inside: &str) -> String {
    format!("<Autodiscover><Response><Account>{inside}</Account></Response></Autodiscover>")
}

fn ews(url: &str) -> String {
    account(&format!("<Action>settings</Action><Protocol><Type>EXPR</Type><EwsUrl>{url}</EwsUrl></Protocol>"))
}

/// 401 to whoever says nothing, and then this.
fn to_whom_it_knows(head: &str, answer: Vec<u8>) -> Say {
    if is_told(head) {
        Say::Answer(answer)
    } else {
        Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""))
    }
}

/// The address of the same server under another name, which nobody has named.
fn elsewhere(port: u16) -> String {
    format!("https://localhost:{port}/autodiscover/autodiscover.xml")
}

#[tokio::test]
async fn a_server_that_may_hear_the_credentials_and_asks_for_them_tells() {
    let server = script(|heard, _| {
        to_whom_it_knows(&heard.head, http("200 OK", "", &ews("https://mail.example.com/EWS/Exchange.asmx")))
    })
    .await;
    let found = discovered(vec![pox(&server)], &settings(&server)).await.unwrap();
    let Discovery::Found { address, mailbox, told_by } = found else { panic!("{found:?}") };
    assert_eq!((address.host().as_str(), mailbox.as_str()), ("mail.example.com", LOGIN));
    assert_eq!(told_by, server.address);
    let heard = server.heard();
    assert_eq!(heard.len(), 2);
    assert!(!is_told(&heard[0].head) && is_told(&heard[1].head));
    assert!(heard[1].body.contains("<EMailAddress>anna@example.com</EMailAddress>"));
}

#[tokio::test]
async fn a_companys_web_site_is_asked_and_hears_no_password() {
    let site = script(|_, _| Say::Answer(http("404 Not Found", "", "<html>"))).await;
    let error = discovered(vec![pox(&site), pox(&site)], &settings(&site)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Discover, &Kind::Unsupported("Autodiscover")));
    assert_eq!(site.heard().len(), 2);
    assert!(site.heard().iter().all(|heard| !is_told(&heard.head)));
    // One that answers everything with its own page is no server of mail, and the next one is asked.
    let page = script(|_, _| Say::Answer(http("200 OK", "", "<html><body>Welcome</body></html>"))).await;
    let good = script(|_, _| Say::Answer(http("200 OK", "", &ews("https://mail.example.com/EWS")))).await;
    let mut both = settings(&good);
    both.transport = pop3_script::settings(
        Some(format!("{}{}", page.authority, good.authority).as_bytes()),
        Duration::from_secs(10),
    );
    let found = discovered(vec![pox(&page), pox(&good)], &both).await.unwrap();
    assert!(matches!(found, Discovery::Found { .. }));
}

#[tokio::test]
async fn whatever_leads_to_another_host_ends_before_that_host_hears_anything() {
    let evil = script(|_, _| {
        Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"give\"\r\n", ""))
    })
    .await;
    let port = evil.address.port();
    let there = elsewhere(port);
    let answers = [
        (http("302 Found", &format!("Location: {there}\r\n"), ""), Led::Redirect),
        (http("307 Temporary Redirect", &format!("Location: {there}\r\n"), ""), Led::Redirect),
        (http("301 Moved", &format!("Location: //localhost:{port}/x.svc\r\n"), ""), Led::Redirect),
        (
            http(
                "200 OK",
                "",
                &account(&format!("<Action>redirectUrl</Action><RedirectUrl>{there}</RedirectUrl>")),
            ),
            Led::Redirect,
        ),
        (http("200 OK", "", &ews(&there)), Led::Services),
    ];
    for (answer, by) in answers {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let server = script(move |heard, _| to_whom_it_knows(&heard.head, answer.clone())).await;
        let mut settings = settings(&server);
        settings.transport = pop3_script::settings(
            Some(format!("{}{}", server.authority, evil.authority).as_bytes()),
            Duration::from_secs(10),
        );
        let found = discovered(vec![pox(&server)], &settings).await.unwrap();
        assert_eq!(found, Discovery::NeedsConsent { host: "localhost".into(), by }, "{shown}");
        assert!(evil.heard().is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn an_address_elsewhere_takes_the_credentials_nowhere() {
    // The domain that it leads to is whoever's: what is under it is not under the mailbox's own.
    let server = script(|heard, _| {
        let led = account("<Action>redirectAddr</Action><RedirectAddr>anna@localhost</RedirectAddr>");
        to_whom_it_knows(&heard.head, http("200 OK", "", &led))
    })
    .await;
    let error = discovered(vec![pox(&server)], &settings(&server)).await;
    match error {
        Err(error) => assert_eq!(error.phase(), Phase::Discover, "{error}"),
        Ok(found) => assert!(matches!(found, Discovery::NeedsConsent { .. }), "{found:?}"),
    }
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn without_tls_nothing_is_said_and_only_a_direction_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_port = listener.local_addr().unwrap().port();
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let good = script(|heard, _| {
        to_whom_it_knows(&heard.head, http("200 OK", "", &ews("https://mail.example.com/EWS")))
    })
    .await;
    let directions = [
        format!("https://127.0.0.1:{}/autodiscover/autodiscover.xml", good.address.port()),
        elsewhere(good.address.port()),
        format!("http://127.0.0.1:{plain_port}/again"),
    ];
    let (told, said) = (directions.clone(), heard.clone());
    tokio::spawn(async move {
        for direction in told {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            let read = socket.read(&mut buffer).await.unwrap();
            said.lock().unwrap().push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let wants = format!("Location: {direction}\r\nWWW-Authenticate: Basic realm=\"x\"\r\n");
            socket.write_all(&http("302 Found", &wants, "")).await.unwrap();
        }
    });
    let plain = || vec![Candidate::Plain { host: "127.0.0.1".into(), port: plain_port }];
    let settings = settings(&good);
    assert!(matches!(discovered(plain(), &settings).await.unwrap(), Discovery::Found { .. }));
    assert_eq!(
        discovered(plain(), &settings).await.unwrap(),
        Discovery::NeedsConsent { host: "localhost".into(), by: Led::Plain }
    );
    let error = discovered(plain(), &settings).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Violation(_)), "{error}");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3);
    for request in heard.iter() {
        assert!(request.starts_with("GET /autodiscover/autodiscover.xml HTTP/1.1\r\n"), "{request}");
        assert!(!is_told(request) && !request.contains("anna"), "{request}");
    }
}

#[tokio::test]
async fn a_downgrade_to_basic_is_refused_where_basic_is_not_allowed() {
    let server = script(|_, _| {
        let offers = "WWW-Authenticate: Basic realm=\"x\"\r\n";
        Say::Answer(http("401 Unauthorized", offers, ""))
    })
    .await;
    let closed = Settings { schemes: Schemes { basic: false, ntlm: false }, ..settings(&server) };
    let error = discovered(vec![pox(&server)], &closed).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Unsupported(_)), "{error}");
    // A token is not said to who takes passwords only.
    let token = Secret::from(CANARY);
    let credentials = Credentials { login: LOGIN, proof: Proof::Token(&token) };
    let error =
        discover_from(vec![pox(&server)], &LOGIN.parse().unwrap(), &settings(&server), credentials).await;
    assert!(matches!(error.unwrap_err().kind(), Kind::Unsupported(_)));
    // And a password is not said to who takes something better only.
    let better = script(|_, _| {
        Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n", ""))
    })
    .await;
    discovered(vec![pox(&better)], &settings(&better)).await.unwrap_err();
    for heard in server.heard().iter().chain(&better.heard()) {
        assert!(!is_told(&heard.head), "{}", heard.head);
    }
}

#[tokio::test]
async fn a_host_that_refuses_the_password_is_not_asked_with_it_again() {
    let server =
        script(|_, _| Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "")))
            .await;
    let both = vec![Candidate::Soap(server.address.clone()), pox(&server)];
    let error = discovered(both, &settings(&server)).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
    assert_eq!(server.heard().iter().filter(|heard| is_told(&heard.head)).count(), 1);
}

#[tokio::test]
async fn a_circle_of_redirects_ends_after_ten() {
    let server =
        script(|_, _| Say::Answer(http("302 Found", "Location: /round/and/round.xml\r\n", ""))).await;
    let error = discovered(vec![pox(&server)], &settings(&server)).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Violation(why) if why.contains("without an end")), "{error}");
    assert_eq!(server.heard().len(), 11);
    assert!(server.heard().iter().all(|heard| !is_told(&heard.head)));
}

#[tokio::test]
async fn a_stranger_hears_nothing_and_services_without_tls_are_none() {
    let server = script(|_, _| Say::Answer(http("200 OK", "", &ews("http://mail.example.com/EWS")))).await;
    let error = discovered(vec![pox(&server)], &settings(&server)).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Violation(why) if why.contains("not https")), "{error}");
    let mut stranger = settings(&server);
    stranger.transport = pop3_script::settings(None, Duration::from_secs(10));
    let error = discovered(vec![pox(&server)], &stranger).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::CertificateNotTrusted(_)), "{error}");
    assert_eq!(server.heard().len(), 1);
    // Nobody asks a host that was not named, even as the first.
    let mut unnamed = settings(&server);
    unnamed.named.clear();
    discovered(vec![pox(&server)], &unnamed).await.unwrap_err();
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn soap_leads_and_tells_as_plain_xml_does() {
    let server = script(|heard, _| {
        let user = if heard.head.contains("/start.svc") {
            "<ErrorCode>RedirectUrl</ErrorCode><RedirectTarget>https://127.0.0.1/PORT</RedirectTarget>"
        } else {
            "<ErrorCode>NoError</ErrorCode><UserSettings><UserSetting><Name>ExternalEwsUrl</Name><Value>https://mail.example.com/EWS</Value></UserSetting><UserSetting><Name>AutoDiscoverSMTPAddress</Name><Value>a.n.na@example.com</Value></UserSetting></UserSettings>"
        };
        let port = heard.field("Host").unwrap().to_owned();
        let user = user.replace("127.0.0.1/PORT", &format!("{port}/next.svc"));
        let body = format!("<s:Envelope xmlns:s=\"x\"><s:Body><GetUserSettingsResponseMessage><Response><ErrorCode>NoError</ErrorCode><UserResponses><UserResponse>{user}</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>");
        to_whom_it_knows(&heard.head, http("200 OK", "", &body))
    })
    .await;
    let start = Address::parse(&format!("https://127.0.0.1:{}/start.svc", server.address.port())).unwrap();
    let found = discovered(vec![Candidate::Soap(start)], &settings(&server)).await.unwrap();
    let Discovery::Found { mailbox, .. } = found else { panic!("{found:?}") };
    assert_eq!(mailbox.as_str(), "a.n.na@example.com");
    assert_eq!(server.heard().len(), 4);
}

//! Signing in by NTLM at a server that checks every part of the proof for itself, and at the simulated Exchange.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use exchange::{Exchange, Offer, Options};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail::Proof;
use mail::error::{Kind, Phase};
use mail::ews::autodiscover::{Candidate, Credentials, Discovery, discover_from};
use mail::ews::{Access, Address, FolderRef, Identity, Schemes, Session, Settings};
use md4::{Digest as _, Md4};
use md5::Md5;
use model::secret::Secret;
use sha2::Sha256;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::ews_script::{CANARY, Heard, LOGIN, Say, Script, http, inbox, script};
use crate::pop3_script;

const NONCE: &[u8; 8] = b"\x01\x23\x45\x67\x89\xab\xcd\xef";
const ONLY: Schemes = Schemes { basic: false, ntlm: true };

fn keyed(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Md5>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A challenge of a server that gives its time and wants the connection bound.
fn challenge() -> Vec<u8> {
    let time = 133_768_000_000_000_000_u64.to_le_bytes();
    let info =
        [b"\x02\x00\x0e\x00".as_slice(), &utf16("EXAMPLE"), b"\x07\x00\x08\x00", &time, &[0; 4]].concat();
    let length = u16::try_from(info.len()).unwrap().to_le_bytes();
    let head =
        [b"NTLMSSP\0".as_slice(), &2_u32.to_le_bytes(), &[0; 8], &0xa08a_8205_u32.to_le_bytes(), NONCE];
    [head.concat(), [0; 8].to_vec(), length.to_vec(), length.to_vec(), 48_u32.to_le_bytes().to_vec(), info]
        .concat()
}

/// Whether this is the proof for this challenge and connection, by the specification.
fn is_proved(first: &[u8], last: &[u8], password: &str, bindings: &[u8]) -> bool {
    let field = |at: usize| {
        let length = usize::from(u16::from_le_bytes(last[at..at + 2].try_into().unwrap()));
        let begin = usize::try_from(u32::from_le_bytes(last[at + 4..at + 8].try_into().unwrap())).unwrap();
        &last[begin..begin + length]
    };
    let (response, domain, user) = (field(20), field(28), field(36));
    let wide = |bytes: &[u8]| {
        let units: Vec<_> =
            bytes.chunks(2).map(|unit| u16::from_le_bytes(unit.try_into().unwrap())).collect();
        String::from_utf16(&units).unwrap()
    };
    let name = format!("{}{}", wide(user).to_uppercase(), wide(domain));
    let key = keyed(&Md4::digest(utf16(password)), &[&utf16(&name)]);
    let (proof, blob) = response.split_at(16);
    let mut zeroed = last.to_vec();
    zeroed[72..88].fill(0);
    let check = keyed(&keyed(&key, &[proof]), &[first, &challenge(), &zeroed]);
    let is_bound = blob.windows(bindings.len()).any(|window| window == bindings);
    keyed(&key, &[NONCE, blob]) == proof && check == last[72..88] && is_bound
}

/// What a proof is bound to: RFC 5929 by way of MS-NLMP.
fn bindings(authority: &str) -> Vec<u8> {
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    let data = [b"tls-server-end-point:".as_slice(), &Sha256::digest(&certificate)].concat();
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    Md5::digest([[0; 16].as_slice(), &length, &data].concat()).to_vec()
}

#[derive(Default)]
struct Seen {
    /// The first message of each connection, until it has proved itself.
    begun: HashMap<usize, Vec<u8>>,
    known: Vec<usize>,
    proofs: Vec<Vec<u8>>,
}

/// Signs connections in, under this scheme, and shows them `good`.
fn signing_in(
    scheme: &'static str,
    password: &'static str,
    good: fn() -> Say,
) -> impl Fn(&Heard, usize) -> Say {
    let seen = Mutex::<Seen>::default();
    move |heard, _| {
        let mut seen = seen.lock().unwrap();
        let refused = |more: &str| {
            Say::Answer(http(
                "401 Unauthorized",
                &format!("WWW-Authenticate: {scheme}{more}\r\n"),
                "<html>no</html>",
            ))
        };
        let said = heard.field("Authorization").and_then(|said| said.strip_prefix(scheme)?.strip_prefix(' '));
        let Some(message) = said.map(|said| BASE64_STANDARD.decode(said).unwrap()) else {
            return if seen.known.contains(&heard.connection) { good() } else { refused("") };
        };
        if message[8] == 1 {
            seen.begun.insert(heard.connection, message);
            return refused(&format!(" {}", BASE64_STANDARD.encode(challenge())));
        }
        let Some(first) = seen.begun.remove(&heard.connection) else { return refused("") };
        // Which certificate this is, only the test knows: it comes by the name of the host.
        let bindings = BINDINGS.lock().unwrap()[heard.field("Host").unwrap()].clone();
        let is_new = !seen.proofs.contains(&message);
        if !is_new || !is_proved(&first, &message, password, &bindings) {
            return refused("");
        }
        seen.proofs.push(message);
        seen.known.push(heard.connection);
        good()
    }
}

static BINDINGS: Mutex<std::collections::BTreeMap<String, Vec<u8>>> =
    Mutex::new(std::collections::BTreeMap::new());

async fn server(scheme: &'static str, password: &'static str, good: fn() -> Say) -> Script {
    let server = script(signing_in(scheme, password, good)).await;
    let host = format!("127.0.0.1:{}", server.address.port());
    BINDINGS.lock().unwrap().insert(host, bindings(&server.authority));
    server
}

async fn session(server: &Script, schemes: Schemes, login: &str) -> Session {
    let settings = Settings { schemes, ..server.settings() };
    let secret = Secret::from(CANARY);
    let proof = Proof::Password(&secret);
    let identity = Identity { login, proof, mailbox: LOGIN.parse().unwrap(), access: Access::Own };
    Session::open(&server.address, &settings, identity).await.unwrap()
}

/// Whether the password, or what it is hashed to for Basic, was said.
fn is_told(heard: &[Heard]) -> bool {
    let basic = BASE64_STANDARD.encode(format!("{LOGIN}:{CANARY}"));
    heard.iter().any(|heard| {
        heard.head.contains(&basic) || heard.head.contains(CANARY) || heard.body.contains(CANARY)
    })
}

#[tokio::test]
async fn a_connection_is_signed_in_once_and_the_password_is_not_told() {
    for (scheme, login) in [("NTLM", LOGIN), ("Negotiate", LOGIN), ("NTLM", "EXAMPLE\\Änna")] {
        let server = server(scheme, CANARY, inbox).await;
        let mut session = session(&server, ONLY, login).await;
        for _ in 0..4 {
            session
                .get_folder(&FolderRef::Inbox)
                .await
                .unwrap_or_else(|error| panic!("{scheme} {login}: {error}"));
        }
        let heard = server.heard();
        let said = heard.iter().filter(|heard| heard.field("Authorization").is_some()).count();
        let asked = if scheme == "NTLM" { 2 } else { 3 };
        assert_eq!((heard.len(), said), (asked + 3, asked), "{scheme} {login}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
        assert!(!is_told(&heard));
    }
}

#[tokio::test]
async fn each_connection_is_signed_in_anew() {
    let server = server("NTLM", CANARY, || match inbox() {
        Say::Answer(bytes) => Say::Last(bytes),
        say => say,
    })
    .await;
    let mut session = session(&server, ONLY, LOGIN).await;
    for _ in 0..3 {
        session.get_folder(&FolderRef::Inbox).await.unwrap();
    }
    assert_eq!((server.heard().len(), server.connections.load(Ordering::SeqCst)), (6, 3));
}

#[tokio::test]
async fn a_server_that_does_not_take_passwords_as_they_are_is_given_a_proof_where_that_is_allowed() {
    let server = server("NTLM", CANARY, inbox).await;
    let mut session = session(&server, Schemes { basic: true, ntlm: true }, LOGIN).await;
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!((server.heard().len(), server.connections.load(Ordering::SeqCst)), (3, 1));
    assert!(session.is_usable());
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_a_server_without_ntlm_hears_none() {
    let server = server("NTLM", "another", inbox).await;
    let mut refused = session(&server, ONLY, LOGIN).await;
    let error = refused.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
    assert_eq!(server.heard().len(), 2);
    let basic =
        script(|_, _| Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", "")))
            .await;
    let mut session_of_basic = session(&basic, ONLY, LOGIN).await;
    let error = session_of_basic.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::Unsupported("NTLM authentication"));
    assert!(!is_told(&basic.heard()) && !is_told(&server.heard()));
}

#[tokio::test]
async fn challenges_that_are_none_and_connections_that_end_are_told_as_that() {
    let nonsense =
        format!("WWW-Authenticate: NTLM {}\r\n", BASE64_STANDARD.encode("NTLMSSP\0\x02\0\0\0short"));
    let real = format!("WWW-Authenticate: NTLM {}\r\n", BASE64_STANDARD.encode(challenge()));
    for (answer, expected) in [
        (Say::Answer(http("401 Unauthorized", &nonsense, "")), "its challenge is none of NTLM"),
        (
            Say::Last(http("401 Unauthorized", &real, "")),
            "it ends the connection that it has given a challenge for",
        ),
    ] {
        let (bytes, last) = match answer {
            Say::Last(bytes) => (bytes, true),
            Say::Answer(bytes) => (bytes, false),
            _ => panic!(),
        };
        let server =
            script(move |_, _| if last { Say::Last(bytes.clone()) } else { Say::Answer(bytes.clone()) })
                .await;
        let mut session = session(&server, ONLY, LOGIN).await;
        let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
        // Whether the end was seen before or after the proof was said is a matter of luck.
        assert!(
            matches!(error.kind(), Kind::Violation(why) if *why == expected)
                || (last && error.kind() == &Kind::Closed),
            "{:?}",
            error.kind()
        );
    }
    let error_page =
        script(|_, _| Say::Answer(http("503 Service Unavailable", "Retry-After: 4\r\n", ""))).await;
    let error = session(&error_page, ONLY, LOGIN).await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(4)));
}

#[tokio::test]
async fn autodiscover_rather_proves_a_password_than_tells_it() {
    let server = server("NTLM", CANARY, || {
        let account = "<Autodiscover><Response><Account><Protocol><Type>EXPR</Type><EwsUrl>https://mail.example.com/EWS</EwsUrl></Protocol></Account></Response></Autodiscover>";
        Say::Answer(http("200 OK", "WWW-Authenticate: Basic realm=\"x\"\r\n", account))
    })
    .await;
    let settings = mail::ews::autodiscover::Settings {
        transport: server.settings().transport,
        schemes: Schemes::default(),
        named: vec!["127.0.0.1".into()],
    };
    let secret = Secret::from(CANARY);
    let credentials = Credentials { login: LOGIN, proof: Proof::Password(&secret) };
    let candidate = Candidate::Pox(server.address.clone());
    let found =
        discover_from(vec![candidate], &LOGIN.parse().unwrap(), &settings, credentials).await.unwrap();
    assert!(matches!(found, Discovery::Found { .. }));
    assert_eq!(server.heard().len(), 3);
    assert!(!is_told(&server.heard()));
}

#[tokio::test]
async fn an_exchange_as_it_is_set_up_by_itself_lets_us_in() {
    let exchange = Exchange::start(Options { offers: vec![Offer::Ntlm], ..Options::default() }).await;
    exchange.add_mailbox("anna@example.org", "Anna", CANARY);
    exchange.deliver("anna@example.org", b"From: b@example.net\r\nSubject: Hi\r\n\r\nHello\r\n");
    for schemes in [ONLY, Schemes::default()] {
        let settings = Settings {
            transport: pop3_script::settings(Some(exchange.ca_pem().as_bytes()), Duration::from_secs(10)),
            schemes,
            limits: mail::ews::Limits::default(),
            version: None,
        };
        let secret = Secret::from(CANARY);
        let identity = Identity {
            login: "anna@example.org",
            proof: Proof::Password(&secret),
            mailbox: "anna@example.org".parse().unwrap(),
            access: Access::Own,
        };
        let address = Address::parse(&exchange.url()).unwrap();
        let mut session = Session::open(&address, &settings, identity).await.unwrap();
        let page = session.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap();
        assert_eq!(page.changes.len(), 1);
    }
}

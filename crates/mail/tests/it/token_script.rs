//! A token server for one test, which says what no real one does: every odd answer is a failure with cause and remedy that
//! repeats no secret, or a token all the same.

use std::time::Duration;

use mail::error::{Distrust, Kind};
use mail::oauth::{Address, Application, Client, Error, Grant, Tokens};
use mail::transport::Trust;
use model::network::NetworkPolicy;
use model::secret::{ExposeSecret as _, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::certificate::certified;

const CLIENT_SECRET: &str = "Kanarienvogel-of-the+application/1";
const REFRESH: &str = "Kanarienvogel-refresh-2";
const ACCESS: &str = "Kanarienvogel-access-3";

struct Script {
    application: Application,
    /// Told once the request was heard.
    heard: oneshot::Receiver<String>,
}

/// Says `answer` to the first request and closes; nothing at all and stays, where there is none.
async fn script(answer: Option<Vec<u8>>) -> Script {
    let (acceptor, authority) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = oneshot::channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(socket).await else { return };
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !whole(&request) {
            match stream.read(&mut chunk).await {
                Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        let _ = tell.send(String::from_utf8(request).unwrap());
        match answer {
            Some(answer) => {
                // Who has heard enough hangs up.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
            None => std::future::pending().await,
        }
    });
    let application = Application {
        token_address: Address::parse(&format!("https://127.0.0.1:{port}/token")).unwrap(),
        client_id: "lockstep".into(),
        client_secret: Some(Secret::from(CLIENT_SECRET)),
        scopes: "offline_access mail send".into(),
        ca_certificate: Some(authority),
    };
    Script { application, heard }
}

fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn client() -> Client {
    Client::new(NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] }, Trust::system())
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn json(body: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

/// A renewal that is answered like this.
async fn renewed(said: Vec<u8>) -> Result<Tokens, Error> {
    let script = script(Some(said)).await;
    let renewed = client().token(&script.application, Grant::Refresh(&Secret::from(REFRESH))).await;
    if let Err(error) = &renewed {
        // Not in what is logged, nor in what becomes an alert's reason or its server's words.
        let mut shown = format!("{error} {error:?}");
        if let Error::Refused(refusal) = error {
            shown += &refusal.said();
        }
        for secret in ["Kanarienvogel", "Kanarienvogel-of-the%2Bapplication%2F1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    renewed
}

#[tokio::test]
async fn what_is_no_answer_of_a_token_server_is_told_as_that_and_nothing_of_it_is_repeated() {
    let huge = format!(r#"{{"access_token":"{ACCESS}","x":"{}"}}"#, "y".repeat(200_000));
    for said in [
        json(&format!("<html>Welcome {REFRESH} {ACCESS}</html>")),
        json(""),
        json(&format!(r#"["{ACCESS}"]"#)),
        json(&format!(r#"{{"access_token":{{"it":"{ACCESS}"}}}}"#)),
        json(&format!(r#"{{"access_token":"{ACCESS}","token_type":"mac"}}"#)),
        json(&format!(r#"{{"access_token":"{ACCESS}\r\nQUIT","token_type":"Bearer"}}"#)),
        json(&format!(r#"{{"access_token":"{ACCESS}\u0001\u0001","token_type":"Bearer"}}"#)),
        answer("302 Found", "Location: https://evil.example/token\r\n", ""),
        answer("307 Temporary Redirect", "Location: http://169.254.169.254/\r\n", ""),
        answer("404 Not Found", "", &format!("no {CLIENT_SECRET} here")),
        answer("400 Bad Request", "", &format!("<html>{REFRESH}</html>")),
    ] {
        let text = String::from_utf8_lossy(&said).into_owned();
        let Err(error) = renewed(said).await else { panic!("{text}") };
        assert!(matches!(&error, Error::Unusable(_)), "{text}: {error}");
        assert!(error.to_string().contains("check the address of the token server"), "{error}");
    }
    for (said, expected) in [
        (json(&huge), Kind::TooLarge("the answer")),
        // Cut off in the middle.
        (json(&huge[..100_000])[..300].to_vec(), Kind::Closed),
        (b"220 mail.example.com ESMTP\r\n".to_vec(), Kind::Violation("its answer is not HTTP")),
        (Vec::new(), Kind::Closed),
    ] {
        let Err(Error::Connection(error)) = renewed(said).await else { panic!("{expected:?}") };
        assert_eq!(error.kind(), &expected);
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_when_it_said() {
    for (status, headers, pause) in [
        ("500 Internal Server Error", "", None),
        ("503 Service Unavailable", "Retry-After: 7\r\n", Some(7)),
        ("429 Too Many Requests", "Retry-After: 120\r\n", Some(120)),
        ("429 Too Many Requests", "Retry-After: Fri, 31 Dec 2027 23:59:59 GMT\r\n", None),
        ("503 Service Unavailable", "Retry-After: -1\r\n", None),
    ] {
        let body = format!(r#"{{"error":"invalid_grant","error_description":"{REFRESH}"}}"#);
        let Err(error) = renewed(answer(status, headers, &body)).await else { panic!("{status}") };
        let Error::Unavailable { retry_after, .. } = &error else { panic!("{status}: {error}") };
        assert_eq!(*retry_after, pause.map(Duration::from_secs), "{status} {headers}");
    }
    let Err(error) = renewed(answer("400 Bad Request", "", r#"{"error":"temporarily_unavailable"}"#)).await
    else {
        panic!("it cannot answer")
    };
    assert!(matches!(error, Error::Unavailable { status: 400, .. }), "{error}");
}

#[tokio::test]
async fn a_no_is_about_the_consent_or_about_the_application() {
    for (status, said, consent, words) in [
        ("400 Bad Request", "invalid_grant", true, "invalid_grant: gone"),
        ("401 Unauthorized", "invalid_grant", true, "invalid_grant: gone"),
        ("400 Bad Request", "interaction_required", true, "interaction_required: gone"),
        ("401 Unauthorized", "invalid_client", false, "invalid_client: gone"),
        ("400 Bad Request", "unauthorized_client", false, "unauthorized_client: gone"),
        ("400 Bad Request", "invalid_scope", false, "invalid_scope: gone"),
    ] {
        let body = format!(r#"{{"error":"{said}","error_description":"gone"}}"#);
        let Err(Error::Refused(refusal)) = renewed(answer(status, "", &body)).await else { panic!("{said}") };
        assert_eq!((refusal.needs_consent(), refusal.said().as_str()), (consent, words));
    }
    // Words that repeat what was sent, as it was sent, are not kept.
    for echo in [REFRESH, CLIENT_SECRET, "client_secret=Kanarienvogel-of-the%2Bapplication%2F1&x"] {
        let body = format!(r#"{{"error":"invalid_client","error_description":"you said {echo}"}}"#);
        let Err(Error::Refused(refusal)) = renewed(answer("401 Unauthorized", "", &body)).await else {
            panic!()
        };
        assert_eq!(refusal.said(), "invalid_client");
    }
}

#[tokio::test]
async fn an_odd_answer_with_a_token_in_it_is_a_token() {
    let hour = Duration::from_secs(3600);
    for (more, lasts, refresh) in [
        ("", hour, None),
        (r#","expires_in":0"#, hour, None),
        (r#","expires_in":-3600"#, hour, None),
        (r#","expires_in":null,"refresh_token":null,"scope":null,"token_type":null"#, hour, None),
        (r#","expires_in":"599","token_type":"BEARER""#, Duration::from_secs(599), None),
        (r#","expires_in":"in an hour","refresh_token":"next""#, hour, Some("next")),
        (
            r#","expires_in":120.5,"token_type":"bearer","refresh_token":"""#,
            Duration::from_millis(120_500),
            None,
        ),
        (r#","refresh_token":"next","id_token":"x.y.z","expires_in":[3]"#, hour, Some("next")),
    ] {
        let body = format!(r#"{{"access_token":"{ACCESS}"{more}}}"#);
        let tokens = renewed(json(&body)).await.unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_eq!(tokens.access.expose_secret(), ACCESS);
        assert_eq!(tokens.expires_in, lasts, "{more}");
        assert_eq!(
            tokens.refresh.as_ref().map(|token| token.expose_secret().to_owned()).as_deref(),
            refresh,
            "{more}"
        );
    }
}

#[tokio::test]
async fn less_than_was_asked_for_is_told_unless_a_new_refresh_token_would_be_lost_by_it() {
    let body = format!(r#"{{"access_token":"{ACCESS}","refresh_token":"next","scope":"mail"}}"#);
    let first = script(Some(json(&body))).await;
    let Err(error) = client().token(&first.application, Grant::ClientCredentials).await else {
        panic!("too little")
    };
    let said = error.to_string();
    assert!(said.contains("`send`") && said.contains("permit that to the application"), "{said}");
    assert!(!said.contains("offline_access") && !said.contains("Kanarienvogel"), "{said}");
    let tokens = renewed(json(&body)).await.unwrap();
    assert_eq!(tokens.narrowed.as_deref(), Some("send"));
    assert_eq!(tokens.refresh.unwrap().expose_secret(), "next");
    let all = format!(r#"{{"access_token":"{ACCESS}","scope":"send mail more"}}"#);
    assert!(renewed(json(&all)).await.unwrap().narrowed.is_none());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_its_deadline() {
    let Script { application, heard } = script(None).await;
    let network = NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] };
    let client = Client::waiting(network, Trust::system(), Duration::from_secs(3));
    let asked = client.token(&application, Grant::Refresh(&Secret::from(REFRESH))).await.map(drop);
    let Err(Error::Connection(error)) = asked else { panic!("there is no answer") };
    assert_eq!(error.kind(), &Kind::TimedOut);
    let request = heard.await.unwrap();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "the secrets are in the body alone");
    assert!(request.contains(
        "grant_type=refresh_token&refresh_token=Kanarienvogel-refresh-2&client_id=lockstep&client_secret="
    ));
}

#[tokio::test]
async fn a_secret_is_told_to_nobody_whose_certificate_is_not_trusted() {
    let Script { application, heard } = script(Some(json("{}"))).await;
    let stranger = Application { ca_certificate: None, ..application };
    let Err(Error::Connection(error)) = client().token(&stranger, Grant::ClientCredentials).await else {
        panic!("nobody vouches for it")
    };
    assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::UnknownIssuer));
    assert!(heard.await.is_err(), "it has heard nothing");
}

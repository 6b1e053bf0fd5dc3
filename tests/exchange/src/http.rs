//! HTTP/1.1 over TLS: connections, paths, signing in, and answers that are broken on purpose.

mod answer;
mod auth;
mod ews;
mod ntlm;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, SET_COOKIE};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::autodiscover;
use crate::report;
use crate::state::State;
use answer::{Answer, plain};

/// The cookie that leads to the same server again, up to its value.
const AFFINITY: &str = "X-BackEndOverrideCookie=";

/// How many requests are remembered.
const REMEMBERED: usize = 20_000;

/// What a connection is known by.
struct Connection {
    number: u64,
    port: u16,
    state: Arc<Mutex<State>>,
    /// Who signed in for the whole connection (NTLM), and the challenge that is out.
    signed_in: Mutex<auth::Handshake>,
    /// Mailboxes that it was used for.
    mailboxes: Mutex<BTreeSet<String>>,
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the connection for a mailbox, once.
    fn used_for(&self, mailbox: &str) {
        let mailbox = mailbox.to_lowercase();
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if !mailbox.is_empty() && mailboxes.insert(mailbox.clone()) {
            self.lock().connections_of.entry(mailbox).or_default().opened();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mailboxes = std::mem::take(&mut *self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut state = self.lock();
        state.connections.closed();
        for mailbox in mailboxes {
            state.connections_of.entry(mailbox).or_default().closed();
        }
    }
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, port: u16, state: Arc<Mutex<State>>) {
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        number += 1;
        let _ = stream.set_nodelay(true);
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            state.lock().unwrap_or_else(PoisonError::into_inner).connections.opened();
            let connection = Arc::new(Connection {
                number,
                port,
                state,
                signed_in: Mutex::default(),
                mailboxes: Mutex::default(),
            });
            let service = service_fn(move |request| {
                let connection = Arc::clone(&connection);
                async move { respond(&connection, request).await }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// One request. An error ends the connection without a word.
async fn respond(connection: &Arc<Connection>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let path = request.uri().path().to_ascii_lowercase();
    let (head, body) = request.into_parts();
    let limit = connection.lock().options.max_request;
    let body = match Limited::new(body, limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(plain(StatusCode::BAD_REQUEST, "Maximum request length exceeded."));
        }
        Err(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let asked = ews::Asked { connection, head: &head, body };
    let answer = match (path.as_str(), &head.method) {
        ("/ews/exchange.asmx", &Method::POST) => ews::answer(asked).await,
        ("/ews/exchange.asmx", &Method::GET | &Method::HEAD) => Ok(page(&asked)),
        ("/autodiscover/autodiscover.xml" | "/autodiscover/autodiscover.svc", _) => {
            discover(&asked, &path).await
        }
        _ => Ok(plain(StatusCode::NOT_FOUND, "The resource cannot be found.")),
    };
    answer.map(|mut answer| {
        dress(&mut answer, &head, connection.lock().options.backends);
        answer
    })
}

/// What a browser gets: a hint that there is a service, for those who may know.
fn page(asked: &ews::Asked<'_>) -> Answer {
    match auth::sign_in(asked.connection, asked.head) {
        auth::SignedIn::As(_) => {
            note(asked, "GET", 200);
            plain(
                StatusCode::OK,
                "You have created a service. To test it, use a client of Exchange Web Services.",
            )
        }
        auth::SignedIn::Refused(answer) => {
            note(asked, "GET", 401);
            answer
        }
    }
}

async fn discover(asked: &ews::Asked<'_>, path: &str) -> Result<Answer, io::Error> {
    let pox = path == "/autodiscover/autodiscover.xml";
    let operation = if pox { "POX" } else { "GetUserSettings" };
    let faults = {
        let mut state = asked.connection.lock();
        crate::fault::met(&mut state.rules, operation, &[])
    };
    if let Some(broken) = answer::before(&faults).await {
        return broken;
    }
    let login = match auth::sign_in(asked.connection, asked.head) {
        auth::SignedIn::As(login) => login,
        auth::SignedIn::Refused(refused) => {
            note(asked, operation, 401);
            return Ok(refused);
        }
    };
    if asked.head.method != Method::POST {
        note(asked, operation, 200);
        return Ok(plain(StatusCode::OK, "Autodiscover"));
    }
    let document = String::from_utf8_lossy(&asked.body).into_owned();
    let text = {
        let state = asked.connection.lock();
        let port = asked.connection.port;
        let host = asked.head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if pox {
            autodiscover::pox(&state, port, host, &document)
        } else {
            autodiscover::soap(&state, port, host, &document)
        }
    };
    let number = note(asked, operation, 200);
    note_login(asked, number, &login);
    answer::after(answer::xml(StatusCode::OK, text), &faults)
}

/// Remembers a request.
fn note(asked: &ews::Asked<'_>, operation: &str, status: u16) -> usize {
    let header = |name: &str| {
        let value = asked.head.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let affinity = header("cookie")
        .split(';')
        .find_map(|cookie| cookie.trim().strip_prefix(AFFINITY).map(str::to_owned));
    let body: String = String::from_utf8_lossy(&asked.body[..asked.body.len().min(16 * 1024)]).into_owned();
    let mut state = asked.connection.lock();
    *state.counts.entry(operation.to_owned()).or_default() += 1;
    if state.requests.len() >= REMEMBERED {
        state.requests.drain(..REMEMBERED / 2);
    }
    state.requests.push(report::Request {
        operation: operation.to_owned(),
        login: String::new(),
        mailbox: String::new(),
        impersonated: false,
        version: String::new(),
        connection: asked.connection.number,
        anchor: header("x-anchormailbox"),
        affinity: affinity.unwrap_or_default(),
        status,
        body,
    });
    state.requests.len() - 1
}

fn note_login(asked: &ews::Asked<'_>, number: usize, login: &str) {
    if let Some(request) = asked.connection.lock().requests.get_mut(number) {
        login.clone_into(&mut request.login);
    }
}

/// The headers of an Exchange behind IIS.
fn dress(answer: &mut Answer, head: &hyper::http::request::Parts, backends: u32) {
    let headers = answer.headers_mut();
    let random: [u8; 16] = model::clock::random_bytes();
    let id = crate::mime::hex(&random);
    for (name, value) in [
        ("server", "Microsoft-IIS/10.0".to_owned()),
        ("x-feserver", "LOCALHOST".to_owned()),
        ("x-calculatedbetarget", "localhost".to_owned()),
        ("request-id", id),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(hyper::header::HeaderName::from_static(name), value);
        }
    }
    if !headers.contains_key(CONTENT_TYPE)
        && let Ok(value) = "text/html; charset=utf-8".parse()
    {
        headers.insert(CONTENT_TYPE, value);
    }
    let anchor =
        head.headers.get("x-anchormailbox").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let backend = ews::home(anchor, backends);
    let prefers = head.headers.get("x-preferserveraffinity").and_then(|value| value.to_str().ok());
    let has = head
        .headers
        .get("cookie")
        .and_then(|cookie| cookie.to_str().ok())
        .is_some_and(|cookie| cookie.contains(AFFINITY));
    if prefers.is_some_and(|value| value.eq_ignore_ascii_case("true"))
        && !has
        && let Ok(cookie) = format!("{AFFINITY}localhost~{backend}; path=/; secure; HttpOnly").parse()
    {
        headers.append(SET_COOKIE, cookie);
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

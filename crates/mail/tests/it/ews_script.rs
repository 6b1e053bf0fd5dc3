//! A web server for one test, which says what the test tells it to and remembers what it heard.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail::Proof;
use mail::ews::{Access, Address, Identity, Limits, Schemes, Session, Settings, Version};
use model::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::certificate::certified;
use crate::pop3_script;

pub(crate) const LOGIN: &str = "anna@example.com";
pub(crate) const CANARY: &str = "Kanarienvogel-4711";

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: String,
    /// Over which connection, counted from 0.
    pub(crate) connection: usize,
}

impl Heard {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What the server does about a request.
pub(crate) enum Say {
    /// These bytes, and the connection stays.
    Answer(Vec<u8>),
    /// These bytes, and the connection ends.
    Last(Vec<u8>),
    /// These bytes, and the last of them over and over.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing, for good.
    Nothing,
}

pub(crate) struct Script {
    pub(crate) address: Address,
    pub(crate) authority: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Bytes of endless answers that got away.
    pub(crate) poured: Arc<AtomicU64>,
}

impl Script {
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings_within(Duration::from_secs(20))
    }

    pub(crate) fn settings_within(&self, deadline: Duration) -> Settings {
        Settings {
            transport: pop3_script::settings(Some(self.authority.as_bytes()), deadline),
            schemes: Schemes { basic: true, ntlm: false },
            limits: Limits { message_deadline: Duration::from_secs(60), ..Limits::default() },
            version: None,
        }
    }

    pub(crate) async fn session(&self) -> Session {
        self.session_by(&self.settings(), Access::Own).await
    }

    pub(crate) async fn session_by(&self, settings: &Settings, access: Access) -> Session {
        let secret = Secret::from(CANARY);
        let identity = Identity {
            login: LOGIN,
            proof: Proof::Password(&secret),
            mailbox: LOGIN.parse().unwrap(),
            access,
        };
        Session::open(&self.address, settings, identity).await.unwrap()
    }

    /// A session that has nothing to find out any more.
    pub(crate) async fn settled(&self) -> Session {
        let settings = Settings { version: Some(Version::Exchange2013), ..self.settings() };
        self.session_by(&settings, Access::Own).await
    }
}

/// Starts a server. `answer` is told each request with its number, from 0.
pub(crate) async fn script(answer: impl Fn(&Heard, usize) -> Say + Send + Sync + 'static) -> Script {
    let (acceptor, authority) = certified();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, poured) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::<AtomicU64>::default());
    let connections = Arc::<AtomicUsize>::default();
    let answer = Arc::new(answer);
    tokio::spawn({
        let (heard, poured, connections) = (heard.clone(), poured.clone(), connections.clone());
        async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                let (heard, poured) = (heard.clone(), poured.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let mut received = Vec::new();
                    while let Some((head, body)) = request(&mut stream, &mut received).await {
                        let request = Heard { head, body, connection };
                        let number = {
                            let mut heard = heard.lock().unwrap();
                            heard.push(request.clone());
                            heard.len() - 1
                        };
                        match answer(&request, number) {
                            Say::Answer(bytes) => {
                                // TLS may hold the end of it back until it is asked for.
                                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                                    return;
                                }
                            }
                            Say::Last(bytes) => {
                                let _ = stream.write_all(&bytes).await;
                                let _ = stream.shutdown().await;
                                return;
                            }
                            Say::Endless(begin, again) => {
                                let _ = stream.write_all(&begin).await;
                                let _ = stream.flush().await;
                                while stream.write_all(&again).await.is_ok() {
                                    poured.fetch_add(again.len() as u64, Ordering::SeqCst);
                                }
                                return;
                            }
                            Say::Nothing => std::future::pending().await,
                        }
                    }
                });
            }
        }
    });
    let address = Address::parse(&format!("https://127.0.0.1:{port}/EWS/Exchange.asmx")).unwrap();
    Script { address, authority, heard, connections, poured }
}

/// Reads one whole request; none when the client has left.
async fn request(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<(String, String)> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec()).unwrap();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            while received.len() < end + 4 + length {
                match stream.read(&mut chunk).await {
                    Ok(read @ 1..) => received.extend_from_slice(&chunk[..read]),
                    _ => return None,
                }
            }
            let body = String::from_utf8(received[end + 4..end + 4 + length].to_vec()).unwrap();
            received.drain(..end + 4 + length);
            return Some((head, body));
        }
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => received.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

/// An answer of HTTP.
pub(crate) fn http(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len()).into_bytes()
}

/// An envelope around an answer.
pub(crate) fn envelope(body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><h:ServerVersionInfo MajorVersion="15" MinorVersion="1" MajorBuildNumber="2507" MinorBuildNumber="6" Version="V2017_07_11" xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>{body}</s:Body></s:Envelope>"#
    )
}

/// An answer of an operation, with these response messages.
pub(crate) fn answered(operation: &str, messages: &str) -> Say {
    let body = format!(
        r#"<m:{operation}Response xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>{messages}</m:ResponseMessages></m:{operation}Response>"#
    );
    Say::Answer(http("200 OK", "Content-Type: text/xml; charset=utf-8\r\n", &envelope(&body)))
}

/// A response message that succeeded.
pub(crate) fn good(operation: &str, inside: &str) -> String {
    format!(
        r#"<m:{operation}ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>{inside}</m:{operation}ResponseMessage>"#
    )
}

/// A response message that did not.
pub(crate) fn bad(operation: &str, code: &str) -> String {
    format!(
        r#"<m:{operation}ResponseMessage ResponseClass="Error"><m:MessageText>No, anna@example.com.</m:MessageText><m:ResponseCode>{code}</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:{operation}ResponseMessage>"#
    )
}

/// A fault with details.
pub(crate) fn fault(code: &str, more: &str) -> String {
    envelope(&format!(
        r#"<s:Fault><faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">a:{code}</faultcode><faultstring xml:lang="en-US">No, anna@example.com.</faultstring><detail><e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">{code}</e:ResponseCode><e:Message xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">No, anna@example.com.</e:Message>{more}</detail></s:Fault>"#
    ))
}

/// The inbox.
pub(crate) fn inbox() -> Say {
    answered(
        "GetFolder",
        &good(
            "GetFolder",
            r#"<m:Folders><t:Folder><t:FolderId Id="inbox-id" ChangeKey="k"/><t:DisplayName>Inbox</t:DisplayName><t:TotalCount>2</t:TotalCount></t:Folder></m:Folders>"#,
        ),
    )
}

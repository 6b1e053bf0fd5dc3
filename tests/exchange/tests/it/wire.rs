//! Requests written out by hand: what goes over the wire and what comes back, to the byte.

use std::sync::Arc;

use exchange::{Exchange, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// `anna@example.org:secret`.
pub(crate) const ANNA: &str = "Basic YW5uYUBleGFtcGxlLm9yZzpzZWNyZXQ=";

/// A server with two mailboxes.
pub(crate) async fn anna(options: Options) -> Exchange {
    let exchange = Exchange::start(options).await;
    exchange.add_mailbox("anna@example.org", "Anna", "secret");
    exchange.add_mailbox("bert@example.org", "Bert", "secret");
    exchange
}

pub(crate) async fn connect(exchange: &Exchange) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(exchange.ca_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", exchange.port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// A request with these headers; what came back until the connection ended, at most a megabyte.
pub(crate) async fn send(exchange: &Exchange, first: &str, headers: &str, body: &str) -> String {
    let mut stream = connect(exchange).await;
    let request = format!(
        "{first} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    while let Ok(read) = stream.read(&mut part).await {
        answer.extend_from_slice(&part[..read]);
        if read == 0 || answer.len() > 1024 * 1024 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn envelope(version: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" \
         xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\"><s:Header>\
         <t:RequestServerVersion Version=\"{version}\"/></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// A request of anna's.
pub(crate) async fn ask(exchange: &Exchange, body: &str) -> String {
    let headers = format!("Authorization: {ANNA}\r\n");
    send(exchange, "POST /EWS/Exchange.asmx", &headers, &envelope("Exchange2013", body)).await
}

pub(crate) const GET_INBOX: &str = "<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds>\
     <t:DistinguishedFolderId Id=\"inbox\"/></m:FolderIds></m:GetFolder>";

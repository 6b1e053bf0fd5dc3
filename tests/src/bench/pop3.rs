//! A bare POP3 client, the ceiling: it signs in over TLS, asks ahead of the answers and throws away what comes.

use std::fmt::Write as _;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Trouble;
use super::house::PASSWORD;

/// Signs in to one server; clones share the session tickets, as the cycles of a process do.
#[derive(Clone)]
pub(super) struct Bare {
    port: u16,
    connector: TlsConnector,
}

/// What a reading brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brought {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Bare {
    pub(super) fn new(port: u16, ca: &str) -> Result<Self, Trouble> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { port, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Signs in, lists, and says goodbye. How many messages there are.
    pub(super) async fn poll(&self, login: &str) -> Result<usize, Trouble> {
        let (mut session, listed) = self.open(login).await?;
        session.ask("QUIT\r\n").await?;
        session.line().await?;
        Ok(listed)
    }

    /// Reads everything with up to `window` requests under way.
    pub(super) async fn read(&self, login: &str, window: usize) -> Result<Brought, Trouble> {
        let (mut session, listed) = self.open(login).await?;
        let (mut asked, mut brought) = (0, Brought::default());
        while brought.messages < listed {
            if asked < listed && asked - brought.messages <= window / 2 {
                let until = listed.min(brought.messages + window);
                let requests = (asked + 1..=until).fold(String::new(), |mut requests, number| {
                    // Writing to a String cannot fail.
                    write!(requests, "RETR {number}\r\n").ok();
                    requests
                });
                session.ask(&requests).await?;
                asked = until;
            }
            session.line().await?;
            brought.bytes += session.lines().await?.1;
            brought.messages += 1;
        }
        session.ask("QUIT\r\n").await?;
        session.line().await?;
        Ok(brought)
    }

    async fn open(&self, login: &str) -> Result<(Session, usize), Trouble> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let mut session = Session { stream: BufReader::with_capacity(64 * 1024, stream), line: Vec::new() };
        session.line().await?;
        for request in [format!("USER {login}\r\n"), format!("PASS {PASSWORD}\r\n")] {
            session.ask(&request).await?;
            session.line().await?;
        }
        session.ask("LIST\r\nUIDL\r\n").await?;
        session.line().await?;
        let listed = session.lines().await?.0;
        session.line().await?;
        session.lines().await?;
        Ok((session, listed))
    }
}

struct Session {
    stream: BufReader<TlsStream<TcpStream>>,
    line: Vec<u8>,
}

impl Session {
    async fn ask(&mut self, requests: &str) -> Result<(), Trouble> {
        self.stream.write_all(requests.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// One line, which must say yes.
    async fn line(&mut self) -> Result<(), Trouble> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).await?;
        if self.line.starts_with(b"+OK") {
            return Ok(());
        }
        Err(format!("the server said {}", String::from_utf8_lossy(&self.line)).into())
    }

    /// Lines up to the lone dot, counted and thrown away; how many, and their bytes.
    async fn lines(&mut self) -> Result<(usize, usize), Trouble> {
        let (mut lines, mut bytes) = (0, 0);
        loop {
            self.line.clear();
            if self.stream.read_until(b'\n', &mut self.line).await? == 0 {
                return Err("the server hung up".into());
            }
            if self.line == b".\r\n" {
                return Ok((lines, bytes));
            }
            (lines, bytes) = (lines + 1, bytes + self.line.len());
        }
    }
}

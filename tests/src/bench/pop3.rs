//! A bare POP3 client, the ceiling: it signs in, asks ahead of the answers and throws away what comes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::Trouble;
use super::house::PASSWORD;

/// Signs in to one server; clones share the session tickets, as the cycles of a process do.
#[derive(Clone)]
pub(super) struct Bare {
    way: Way,
    connector: TlsConnector,
}

/// How the server is reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// TLS from the first byte.
    Private(u16),
    /// A plain beginning that is made private by STLS (RFC 2595).
    MadePrivate(u16),
    /// No TLS at all, from the server's own address, which it takes for safe.
    Plain(&'static str, u16),
}

impl Way {
    pub(super) fn private(port: u16) -> Self {
        Self::Private(port)
    }
}

/// What a reading brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Brought {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Bare {
    pub(super) fn new(way: Way, ca: &str) -> Result<Self, Trouble> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { way, connector: TlsConnector::from(Arc::new(config)) })
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
        let mut session = match self.way {
            Way::Private(port) => Session::over(self.private(connect(port).await?).await?),
            Way::MadePrivate(port) => {
                let mut session = Session::over(Box::new(connect(port).await?));
                session.line().await?;
                session.ask("STLS\r\n").await?;
                session.line().await?;
                let stream = self.private(session.stream.into_inner()).await?;
                Session { greeted: true, ..Session::over(stream) }
            }
            Way::Plain(address, port) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(address.parse()?, 0))?;
                let stream = socket.connect(SocketAddr::new(address.parse()?, port)).await?;
                stream.set_nodelay(true)?;
                Session::over(Box::new(stream))
            }
        };
        if !session.greeted {
            session.line().await?;
        }
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

    async fn private(&self, stream: impl Stream + 'static) -> Result<Box<dyn Stream>, Trouble> {
        Ok(Box::new(self.connector.connect(ServerName::try_from("localhost")?, stream).await?))
    }
}

async fn connect(port: u16) -> Result<TcpStream, Trouble> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whatever POP3 is spoken over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
    /// The server has said who it is.
    greeted: bool,
}

impl Session {
    fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::with_capacity(64 * 1024, stream), line: Vec::new(), greeted: false }
    }

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

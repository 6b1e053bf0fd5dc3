//! An SMTP server that works, except at one step where it does what the test says. It keeps count of what it took, so that
//! what we believe can be held against what is true.

use std::sync::{Arc, Mutex};

use model::endpoint::{Endpoint, Protocol, Tls};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where it does something else than what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Greeting,
    Ehlo,
    StartTls,
    EhloInTls,
    Auth,
    Mail,
    FirstRcpt,
    SecondRcpt,
    EveryRcpt,
    Data,
    Dot,
    Rset,
    Quit,
}

/// A recipient that it never has.
pub(crate) const GHOST: &str = "ghost@example.org";

/// What it does there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Says this; with 421 it leaves afterwards.
    Says(&'static str),
    /// Closes the connection, without having done what was asked.
    Leaves,
    /// Does what was asked, and closes the connection instead of saying so.
    ObeysAndLeaves,
    /// Does what was asked, and says so when nobody listens any more.
    AnswersLate,
}

#[derive(Default)]
struct Shared {
    fault: Option<(At, Does)>,
    /// Each recipient of each message that it took responsibility for.
    taken: Vec<String>,
}

/// The server, on a free loopback port.
pub(crate) struct Fickle {
    pub(crate) endpoint: Endpoint,
    pub(crate) ca_pem: String,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Fickle {
    pub(crate) async fn start(tls: Tls, extensions: &'static str) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(certified.cert.der().to_vec())];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Mutex<Shared>>::default();
        let of_task = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let talk = Talk::new(extensions, of_task.clone(), acceptor.clone());
                // A client that leaves in the middle is no failure.
                tokio::spawn(talk.begin(socket, tls));
            }
        });
        let endpoint = Endpoint { protocol: Protocol::Smtp, host: "localhost".to_owned(), port, tls };
        Self { endpoint, ca_pem: certified.cert.pem(), shared, task }
    }

    /// From now on it does this there; with none it works.
    pub(crate) fn set(&self, fault: Option<(At, Does)>) {
        self.shared.lock().unwrap().fault = fault;
    }

    /// How often it took a message for this recipient.
    pub(crate) fn taken(&self, recipient: &str) -> usize {
        self.shared.lock().unwrap().taken.iter().filter(|taken| *taken == recipient).count()
    }
}

impl Drop for Fickle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One conversation.
struct Talk {
    extensions: &'static str,
    shared: Arc<Mutex<Shared>>,
    acceptor: TlsAcceptor,
    in_tls: bool,
    has_sender: bool,
    tried: usize,
    recipients: Vec<String>,
}

/// Whether the conversation goes on.
type GoesOn = std::io::Result<bool>;

impl Talk {
    fn new(extensions: &'static str, shared: Arc<Mutex<Shared>>, acceptor: TlsAcceptor) -> Self {
        Self {
            extensions,
            shared,
            acceptor,
            in_tls: false,
            has_sender: false,
            tried: 0,
            recipients: Vec::new(),
        }
    }

    async fn begin(mut self, socket: TcpStream, tls: Tls) -> std::io::Result<()> {
        let mut wire: BufStream<Box<dyn Stream>> = if tls == Tls::Implicit {
            self.in_tls = true;
            BufStream::new(Box::new(self.acceptor.accept(socket).await?))
        } else {
            BufStream::new(Box::new(socket))
        };
        if !self.say(&mut wire, At::Greeting, "220 ready").await? {
            return Ok(());
        }
        let mut line = String::new();
        while wire.read_line(&mut line).await? > 0 {
            let heard = line.trim_end().to_owned();
            line.clear();
            if heard == "STARTTLS" {
                if !self.say(&mut wire, At::StartTls, "220 go ahead").await? {
                    return Ok(());
                }
                if self.shared.lock().unwrap().fault.is_none_or(|(at, _)| at != At::StartTls) {
                    wire = BufStream::new(Box::new(self.acceptor.accept(wire.into_inner()).await?));
                    self.in_tls = true;
                }
            } else if !self.hear(&mut wire, &heard).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn hear(&mut self, wire: &mut BufStream<Box<dyn Stream>>, heard: &str) -> GoesOn {
        let verb = heard.split([' ', ':']).next().unwrap_or_default();
        match verb {
            "EHLO" => {
                let (at, last) =
                    if self.in_tls { (At::EhloInTls, "250 AUTH PLAIN") } else { (At::Ehlo, "250 STARTTLS") };
                let text = format!("250-here\r\n{}{last}", self.extensions);
                self.say(wire, at, &text).await
            }
            "AUTH" => self.say(wire, At::Auth, "235 2.7.0 welcome").await,
            "MAIL" => {
                self.has_sender = !self.fails(At::Mail);
                (self.tried, self.recipients) = (0, Vec::new());
                self.say(wire, At::Mail, "250 2.1.0 ok").await
            }
            "RCPT" if !self.has_sender => raw(wire, "503 5.5.1 who sends?").await,
            "RCPT" if heard.contains(GHOST) => raw(wire, "550 5.1.1 nobody").await,
            "RCPT" => {
                self.tried += 1;
                let at = if self.fails(At::EveryRcpt) {
                    At::EveryRcpt
                } else if self.tried == 1 {
                    At::FirstRcpt
                } else {
                    At::SecondRcpt
                };
                if !self.fails(at) {
                    let address = heard.split(['<', '>']).nth(1).unwrap_or_default();
                    self.recipients.push(address.to_owned());
                }
                self.say(wire, at, "250 2.1.5 ok").await
            }
            "DATA" if self.recipients.is_empty() => raw(wire, "503 5.5.1 to whom?").await,
            "DATA" => {
                if !self.say(wire, At::Data, "354 go on").await? {
                    return Ok(false);
                }
                if self.fails(At::Data) {
                    return Ok(true);
                }
                let mut line = Vec::new();
                while wire.read_until(b'\n', &mut line).await? > 0 && line != b".\r\n" {
                    line.clear();
                }
                if line != b".\r\n" {
                    return Ok(false);
                }
                self.has_sender = false;
                if !self.fails(At::Dot) {
                    let took = std::mem::take(&mut self.recipients);
                    self.shared.lock().unwrap().taken.extend(took);
                }
                self.say(wire, At::Dot, "250 2.0.0 taken").await
            }
            "RSET" => {
                self.has_sender = false;
                self.recipients.clear();
                self.say(wire, At::Rset, "250 2.0.0 forgotten").await
            }
            "QUIT" => {
                self.say(wire, At::Quit, "221 2.0.0 bye").await?;
                Ok(false)
            }
            _ => raw(wire, "500 5.5.2 what?").await,
        }
    }

    /// Whether it will not do what is asked of it at this step.
    fn fails(&self, at: At) -> bool {
        matches!(
            self.shared.lock().unwrap().fault,
            Some((there, Does::Says(_) | Does::Leaves)) if there == at
        )
    }

    async fn say(&self, wire: &mut BufStream<Box<dyn Stream>>, at: At, usual: &str) -> GoesOn {
        let fault = self.shared.lock().unwrap().fault.filter(|(there, _)| *there == at);
        match fault {
            None => raw(wire, usual).await,
            Some((_, Does::Says(words))) => {
                raw(wire, words).await?;
                Ok(!words.starts_with("421"))
            }
            Some((_, Does::Leaves | Does::ObeysAndLeaves)) => Ok(false),
            Some((_, Does::AnswersLate)) => {
                // As long as the client stays it hears nothing; what is said then, nobody hears.
                let mut rest = Vec::new();
                let _ = tokio::io::AsyncReadExt::read_to_end(wire, &mut rest).await;
                let _ = raw(wire, usual).await;
                Ok(false)
            }
        }
    }
}

async fn raw(wire: &mut BufStream<Box<dyn Stream>>, words: &str) -> GoesOn {
    wire.write_all(format!("{words}\r\n").as_bytes()).await?;
    wire.flush().await?;
    Ok(true)
}

//! An SMTP server for one test: it says exactly what the test wants, over implicit TLS or STARTTLS, and writes down
//! what it hears. It never decides anything by itself.

use std::time::Duration;

use mail::Error;
use mail::smtp::{ClientName, Envelope, Outcome, RecipientState, Session, Settings, Step, Submission, whole};
use mail::transport::{self, Trust};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::network::NetworkPolicy;
use model::secret::Secret;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificate::certified;

pub(crate) const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.dot\nbare\r\nend";
pub(crate) const ON_THE_WIRE: &[u8] = b"Subject: x\r\n\r\n..dot\r\nbare\r\nend\r\n.\r\n";

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        from: "anna@example.org".parse().unwrap(),
        recipients: recipients.iter().map(|to| to.parse().unwrap()).collect(),
        size: MESSAGE.len() as u64,
        eight_bit: false,
        utf8: false,
        reports: None,
    }
}

pub(crate) async fn submit(session: &mut Session, recipients: &[&str]) -> Result<Submission, Error> {
    session.submit(&envelope(recipients), whole(MESSAGE), async { Ok(()) }).await
}

pub(crate) fn codes(submission: &Submission) -> Vec<(&'static str, u16)> {
    let state = |state: &RecipientState| match state {
        RecipientState::Accepted(reply) => ("accepted", reply.code()),
        RecipientState::Deferred(reply) => ("deferred", reply.code()),
        RecipientState::Refused(reply) => ("refused", reply.code()),
        RecipientState::InDoubt(reply) => ("in doubt", reply.code()),
    };
    submission.recipients.iter().map(state).collect()
}

pub(crate) fn refused_at(submission: &Submission) -> Option<(Step, u16)> {
    match &submission.outcome {
        Outcome::Refused { step, reply } => Some((*step, reply.code())),
        _ => None,
    }
}

pub(crate) fn is_sent(submission: &Submission) -> bool {
    matches!(submission.outcome, Outcome::Sent(_))
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The server's end of a connection.
pub(crate) struct Peer {
    stream: BufReader<Box<dyn Stream>>,
    acceptor: TlsAcceptor,
}

impl Peer {
    /// Says lines, each as it stands and ended with CRLF, in one write.
    pub(crate) async fn say(&mut self, lines: &str) {
        let text: String = lines.lines().flat_map(|line| [line.trim(), "\r\n"]).collect();
        self.say_raw(text.as_bytes()).await;
    }

    pub(crate) async fn say_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
        self.stream.get_mut().flush().await.unwrap();
    }

    /// The next line the client says, or `(closed)`.
    pub(crate) async fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await {
            Ok(read) if read > 0 => line.trim_end().to_owned(),
            _ => "(closed)".to_owned(),
        }
    }

    /// Hears a line and answers it; returns what was heard.
    pub(crate) async fn answer(&mut self, lines: &str) -> String {
        let heard = self.hear().await;
        self.say(lines).await;
        heard
    }

    /// Hears a whole message up to its final dot, which is included.
    pub(crate) async fn hear_message(&mut self) -> Vec<u8> {
        let mut message = Vec::new();
        while message != b".\r\n" && !message.ends_with(b"\r\n.\r\n") {
            if self.stream.read_until(b'\n', &mut message).await.unwrap_or(0) == 0 {
                break;
            }
        }
        message
    }

    /// This many bytes of a message.
    pub(crate) async fn hear_some(&mut self, bytes: usize) {
        self.stream.read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    /// Everything the client still says, until the connection ends.
    pub(crate) async fn hear_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    /// Greeting, EHLO with these extensions, AUTH PLAIN accepted.
    pub(crate) async fn sign_in(&mut self, extensions: &str) {
        self.say("220 script ESMTP").await;
        let lines: String = extensions
            .lines()
            .filter(|line| !line.trim().is_empty())
            .flat_map(|line| ["250-", line.trim(), "\n"])
            .collect();
        assert_eq!(self.answer(&format!("250-script\n{lines}250 AUTH PLAIN")).await, "EHLO client.test");
        assert_eq!(self.answer("235 2.7.0 welcome").await, "AUTH PLAIN AGFubmEAcGFzcw==");
    }

    /// MAIL, one RCPT and DATA accepted.
    pub(crate) async fn until_data(&mut self) {
        self.answer("250 ok").await;
        self.answer("250 ok").await;
        self.answer("354 go").await;
    }

    /// Goes on inside TLS.
    pub(crate) async fn start_tls(self) -> Self {
        let Self { stream, acceptor } = self;
        let stream = acceptor.accept(stream.into_inner()).await.unwrap();
        Self { stream: BufReader::new(Box::new(stream)), acceptor }
    }
}

/// Where a script listens, and what it will have heard.
pub(crate) struct Script<T> {
    pub(crate) endpoint: Endpoint,
    pub(crate) settings: Settings,
    heard: JoinHandle<T>,
}

impl<T> Script<T> {
    /// Plays `script` to the first connection.
    pub(crate) async fn play<F>(tls: Tls, script: impl FnOnce(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T> + Send,
        T: Send + 'static,
    {
        let (acceptor, authority) = certified();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let peer = match tls {
                Tls::Implicit => greet_in_tls(socket, acceptor).await,
                Tls::StartTls => Peer { stream: BufReader::new(Box::new(socket)), acceptor },
            };
            script(peer).await
        });
        let trust = Trust::system().for_profile(Some(authority.as_bytes())).unwrap();
        Self {
            endpoint: Endpoint { protocol: Protocol::Smtp, host: "127.0.0.1".into(), port, tls },
            settings: settings(trust),
            heard,
        }
    }

    /// Implicit TLS, signed in; then `script` says what follows.
    pub(crate) async fn signed_in<F>(
        extensions: &'static str,
        script: impl FnOnce(Peer) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = T> + Send,
        T: Send + 'static,
    {
        Self::play(Tls::Implicit, async move |mut peer: Peer| {
            peer.sign_in(extensions).await;
            script(peer).await
        })
        .await
    }

    pub(crate) async fn open(&self) -> Result<Session, Error> {
        Session::open(&self.endpoint, &self.settings, "anna", &Secret::from("pass")).await
    }

    /// What the script returned.
    pub(crate) async fn heard(self) -> T {
        self.heard.await.unwrap()
    }
}

async fn greet_in_tls(socket: TcpStream, acceptor: TlsAcceptor) -> Peer {
    let stream = acceptor.accept(socket).await.unwrap();
    Peer { stream: BufReader::new(Box::new(stream)), acceptor }
}

/// Loopback allowed; deadlines far above what a loaded machine needs, unless a test wants to see one pass.
pub(crate) fn settings(tls: transport::TlsSettings) -> Settings {
    let patience = Duration::from_secs(20);
    Settings {
        transport: transport::Settings {
            network: NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] },
            connect_timeout: patience,
            phase_deadline: patience,
            tls,
            ends: None,
        },
        client_name: ClientName::parse("client.test").unwrap(),
        message_timeout: patience,
        verdict_timeout: patience,
    }
}

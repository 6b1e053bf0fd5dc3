//! A mail server that answers each line as the test says, over TLS from the first byte, for what no real server does:
//! break off in the middle, dribble, lie. It never decides anything by itself.

use std::sync::Arc;
use std::time::Duration;

use model::endpoint::{Endpoint, Protocol, Tls};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the server does about a line.
pub(crate) enum Do {
    /// Says this, as it is.
    Say(Vec<u8>),
    /// Says this when it is told to.
    When(Arc<Notify>, Vec<u8>),
    /// Loses what it was sent ahead of this answer, and says this.
    SayAndForget(Vec<u8>),
    /// Says this and resets the connection.
    SayAndBreak(Vec<u8>),
    /// Resets the connection.
    Break,
    /// Says nothing more, and keeps the connection.
    Stall,
}

pub(crate) fn say(words: impl AsRef<[u8]>) -> Do {
    Do::Say(words.as_ref().to_vec())
}

/// A scripted server on a free loopback port.
pub(crate) struct Scripted {
    pub(crate) endpoint: Endpoint,
    pub(crate) ca_pem: String,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Answers every line of every client by the script, after the greeting.
    pub(crate) async fn start(
        protocol: Protocol,
        greeting: &'static str,
        script: impl Fn(&str) -> Do + Send + Sync + 'static,
    ) -> Self {
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
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that leaves in the middle is no failure of the script.
                tokio::spawn(lead(acceptor.clone(), socket, greeting, script.clone()));
            }
        });
        let endpoint = Endpoint { protocol, host: "localhost".to_owned(), port, tls: Tls::Implicit };
        Self { endpoint, ca_pem: certified.cert.pem(), task }
    }

    /// A POP3 server with these messages, which does about RETR of one by its number what the script says.
    pub(crate) async fn pop3(
        messages: Vec<Vec<u8>>,
        retr: impl Fn(usize, &[u8]) -> Do + Send + Sync + 'static,
    ) -> Self {
        Self::start(Protocol::Pop3, "+OK ready\r\n", move |line| {
            let words: Vec<&str> = line.split(' ').collect();
            let lines = |of: &dyn Fn(usize, &Vec<u8>) -> String| {
                let all: String =
                    messages.iter().enumerate().map(|(at, message)| of(at + 1, message)).collect();
                say(format!("+OK\r\n{all}.\r\n"))
            };
            match words[0] {
                "CAPA" => say("+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n"),
                "LIST" => lines(&|number, message| format!("{number} {}\r\n", message.len())),
                "UIDL" => lines(&|number, _| format!("{number} uid-{number}\r\n")),
                "TOP" => {
                    let number: usize = words[1].parse().unwrap();
                    let message = String::from_utf8_lossy(&messages[number - 1]).to_string();
                    say(format!(
                        "+OK\r\n{}\r\n\r\n.\r\n",
                        message.split("\r\n\r\n").next().unwrap_or_default()
                    ))
                }
                "RETR" => {
                    let number: usize = words[1].parse().unwrap();
                    retr(number, &messages[number - 1])
                }
                _ => say("+OK\r\n"),
            }
        })
        .await
    }
}

impl Scripted {
    /// An SMTP server that takes everything, but does about a line what the script says first. The final dot is the
    /// line `.`; lines of a message come with `| ` before them, and nothing is done about them.
    pub(crate) async fn smtp(script: impl Fn(&str) -> Option<Do> + Send + Sync + 'static) -> Self {
        Self::start(Protocol::Smtp, "220 ready\r\n", move |line| {
            script(line).unwrap_or_else(|| match line.split(' ').next().unwrap_or_default() {
                "EHLO" => say("250-here\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n"),
                "AUTH" => say("235 2.7.0 welcome\r\n"),
                "DATA" => say("354 go on\r\n"),
                "QUIT" => say("221 bye\r\n"),
                _ => say("250 2.0.0 ok\r\n"),
            })
        })
        .await
    }
}

/// The whole message, as an answer to RETR.
pub(crate) fn whole(message: &[u8]) -> Do {
    say([b"+OK\r\n", message, b".\r\n"].concat())
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn lead(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    greeting: &str,
    script: Arc<impl Fn(&str) -> Do>,
) -> std::io::Result<()> {
    let mut wire = BufStream::new(acceptor.accept(socket).await?);
    match (greeting, script("")) {
        // Without a greeting of its own the script is asked for one.
        ("", Do::Say(words)) => wire.write_all(&words).await?,
        _ => wire.write_all(greeting.as_bytes()).await?,
    }
    wire.flush().await?;
    let (mut line, mut in_message) = (Vec::new(), false);
    while wire.read_until(b'\n', &mut line).await? > 0 {
        let heard = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if in_message && heard != "." {
            script(&format!("| {heard}"));
            continue;
        }
        in_message = false;
        match script(&heard) {
            Do::When(told, words) => {
                told.notified().await;
                wire.write_all(&words).await?;
                wire.flush().await?;
            }
            Do::Say(words) => {
                in_message = words.starts_with(b"354");
                wire.write_all(&words).await?;
                wire.flush().await?;
            }
            Do::SayAndForget(words) => {
                while let Ok(early) = timeout(Duration::from_millis(30), wire.fill_buf()).await {
                    let early = early?.len();
                    if early == 0 {
                        return Ok(());
                    }
                    wire.consume(early);
                }
                wire.write_all(&words).await?;
                wire.flush().await?;
            }
            Do::SayAndBreak(words) => {
                wire.write_all(&words).await?;
                return wire.flush().await;
            }
            Do::Break => return Ok(()),
            Do::Stall => std::future::pending().await,
        }
    }
    Ok(())
}

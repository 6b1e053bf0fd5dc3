//! A server that plays a script, over TCP and real TLS, for what no real server does: break off, lie, dribble, inject.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail::transport::{Settings, Trust};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::network::NetworkPolicy;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

/// Anything a script talks over.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One side of a conversation that a script leads.
pub(crate) struct Talk {
    wire: Option<BufStream<Box<dyn Wire>>>,
    acceptor: TlsAcceptor,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Talk {
    /// The next line the client says, without its end; empty when it said nothing more.
    pub(crate) async fn hear(&mut self) -> String {
        let mut line = String::new();
        let read = self.wire.as_mut().unwrap().read_line(&mut line).await;
        if read.is_err() {
            line.clear();
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        if !line.is_empty() {
            self.heard.lock().unwrap().push(line.clone());
        }
        line
    }

    /// Says this, as it is; a client that left is no failure of the script.
    pub(crate) async fn say(&mut self, words: impl AsRef<[u8]>) {
        let wire = self.wire.as_mut().unwrap();
        let _ = wire.write_all(words.as_ref()).await;
        let _ = wire.flush().await;
    }

    /// Hears a line and answers it.
    pub(crate) async fn answer(&mut self, words: impl AsRef<[u8]>) -> String {
        let line = self.hear().await;
        self.say(words).await;
        line
    }

    /// Goes over to TLS.
    pub(crate) async fn upgrade(&mut self) {
        let plain = self.wire.take().unwrap().into_inner();
        let stream = self.acceptor.accept(plain).await.expect("the client accepts TLS");
        self.wire = Some(BufStream::new(Box::new(stream)));
    }

    /// Whether the client says nothing for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        let wire = self.wire.as_mut().unwrap();
        tokio::time::timeout(Duration::from_millis(50), wire.fill_buf()).await.is_err()
    }

    /// How the connection ended, after everything else the client had to say: true for a reset.
    pub(crate) async fn was_reset(&mut self) -> bool {
        let mut rest = Vec::new();
        self.wire
            .as_mut()
            .unwrap()
            .read_to_end(&mut rest)
            .await
            .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }

    /// Greets and plays the server up to and with the sign-in, announcing these capabilities (lines with CRLF).
    pub(crate) async fn welcome(&mut self, capabilities: &str) {
        let capa = format!("+OK\r\n{capabilities}.\r\n");
        self.say("+OK ready\r\n").await;
        self.answer(&capa).await;
        loop {
            let line = self.hear().await;
            self.say("+OK\r\n").await;
            if line.starts_with("AUTH") || line.starts_with("PASS") || line.is_empty() {
                break;
            }
        }
        self.answer(&capa).await;
    }
}

/// What most scripts announce.
pub(crate) const USUAL: &str = "SASL PLAIN\r\nUIDL\r\nTOP\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n";
/// The same without pipelining.
pub(crate) const SLOW: &str = "SASL PLAIN\r\nUIDL\r\nTOP\r\n";

/// A scripted server on a free loopback port.
pub(crate) struct Scripted {
    pub(crate) endpoint: Endpoint,
    pub(crate) ca_pem: Vec<u8>,
    heard: Arc<Mutex<Vec<String>>>,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Plays the script to every client in turn, in TLS from the first byte or not.
    pub(crate) async fn start<F, Script>(tls: Tls, script: Script) -> Self
    where
        F: Future<Output = ()> + Send,
        Script: Fn(Talk) -> F + Send + Sync + 'static,
    {
        Self::start_as("127.0.0.1", tls, script).await
    }

    /// As [`Scripted::start`], with a certificate for this name.
    pub(crate) async fn start_as<F, Script>(name: &str, tls: Tls, script: Script) -> Self
    where
        F: Future<Output = ()> + Send,
        Script: Fn(Talk) -> F + Send + Sync + 'static,
    {
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Self::start_certified(&parameters, tls, script).await
    }

    /// As [`Scripted::start`], with this certificate, signed by itself.
    pub(crate) async fn start_certified<F, Script>(
        parameters: &CertificateParams,
        tls: Tls,
        script: Script,
    ) -> Self
    where
        F: Future<Output = ()> + Send,
        Script: Fn(Talk) -> F + Send + Sync + 'static,
    {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let (said, shaken) = (heard.clone(), handshakes.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let wire: Box<dyn Wire> = if tls == Tls::Implicit {
                    let Ok(stream) = acceptor.accept(socket).await else { continue };
                    shaken.lock().unwrap().extend(stream.get_ref().1.handshake_kind());
                    Box::new(stream)
                } else {
                    Box::new(socket)
                };
                let wire = Some(BufStream::new(wire));
                script(Talk { wire, acceptor: acceptor.clone(), heard: said.clone() }).await;
            }
        });
        let endpoint = Endpoint { protocol: Protocol::Pop3, host: "127.0.0.1".to_owned(), port, tls };
        Self { endpoint, ca_pem: certificate.pem().into_bytes(), heard, handshakes, task }
    }

    /// Every line that clients said so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How each TLS handshake went so far.
    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        self.handshakes.lock().unwrap().clone()
    }

    /// Settings that trust this server, with this much time for each phase.
    pub(crate) fn settings(&self, phase_deadline: Duration) -> Settings {
        settings(Some(&self.ca_pem), phase_deadline)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Settings that allow loopback and trust this CA.
pub(crate) fn settings(ca_pem: Option<&[u8]>, phase_deadline: Duration) -> Settings {
    Settings {
        network: NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] },
        connect_timeout: Duration::from_secs(20),
        phase_deadline,
        tls: Trust::system().for_profile(ca_pem).unwrap(),
        ends: None,
    }
}

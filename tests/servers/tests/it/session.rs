//! A line-based conversation with a server, before and after TLS.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

pub(crate) struct Session<S> {
    stream: BufReader<S>,
    authority: String,
}

impl Session<TcpStream> {
    pub(crate) async fn open(port: u16, authority: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self { stream: BufReader::new(stream), authority: authority.to_owned() }
    }

    /// TLS with a certificate that the authority issued for `localhost`.
    pub(crate) async fn secure(self) -> Session<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = self.stream.into_inner();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        Session { stream: BufReader::new(stream), authority: self.authority }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// One command, one line of answer.
    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.say(command).await;
        self.line().await
    }

    /// A command that has to be answered with a line that begins like that.
    pub(crate) async fn ask_for(&mut self, command: &str, expected: &str) {
        let answer = self.ask(command).await;
        assert!(answer.starts_with(expected), "{command} was answered {answer}");
    }

    /// An SMTP reply with all its lines.
    pub(crate) async fn reply(&mut self) -> String {
        let mut reply = Vec::new();
        loop {
            let line = self.line().await;
            let more = line.as_bytes().get(3) == Some(&b'-');
            reply.push(line);
            if !more {
                return reply.join("\n");
            }
        }
    }

    pub(crate) async fn exchange(&mut self, command: &str) -> String {
        self.say(command).await;
        self.reply().await
    }

    /// A command that has to be answered with that code.
    pub(crate) async fn exchange_for(&mut self, command: &str, code: &str) {
        let reply = self.exchange(command).await;
        assert!(reply.starts_with(code), "{command} was answered {reply}");
    }

    async fn say(&mut self, command: &str) {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.unwrap();
        self.stream.get_mut().flush().await.unwrap();
    }
}

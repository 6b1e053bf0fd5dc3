//! A mail server that takes everything and keeps nothing but names: what submissions are measured into, so that no
//! spool is measured with them. With TLS and AUTH for Lockstep, plain for `smtp-source`, the same behind both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::Trouble;

/// A running sink, gone when dropped.
pub(super) struct Sink {
    /// Plain, without AUTH.
    pub(super) plain: u16,
    /// TLS from the first byte, with AUTH PLAIN; any password will do.
    pub(super) tls: u16,
    /// The authority of its certificate.
    pub(super) ca: String,
    taken: Arc<Mutex<Taken>>,
    _listening: [AbortOnDropHandle<()>; 2],
}

/// What came in since the last time it was asked.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) connections: usize,
    pub(super) messages: usize,
    /// Of all messages, with their doubled dots.
    pub(super) bytes: usize,
    /// How often each Message-ID came.
    pub(super) ids: HashMap<Vec<u8>, usize>,
}

impl Sink {
    pub(super) async fn start() -> Result<Self, Trouble> {
        let (acceptor, ca) = identity()?;
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let (plain, plain_task) = listen(None, &taken).await?;
        let (tls, tls_task) = listen(Some(acceptor), &taken).await?;
        Ok(Self { plain, tls, ca, taken, _listening: [plain_task, tls_task] })
    }

    /// What came in, and forgets it.
    pub(super) fn take(&self) -> Taken {
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn identity() -> Result<(TlsAcceptor, String), Trouble> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(authority, authority_key);
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), ca))
}

async fn listen(
    acceptor: Option<TlsAcceptor>,
    taken: &Arc<Mutex<Taken>>,
) -> Result<(u16, AbortOnDropHandle<()>), Trouble> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let taken = Arc::clone(taken);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, taken) = (acceptor.clone(), Arc::clone(&taken));
            // A client that leaves without a word is none of the sink's business.
            tokio::spawn(async move { receive(stream, acceptor, &taken).await.ok() });
        }
    });
    Ok((port, AbortOnDropHandle::new(task)))
}

async fn receive(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    taken: &Mutex<Taken>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    taken.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
    match acceptor {
        Some(acceptor) => converse(BufReader::new(acceptor.accept(stream).await?), true, taken).await,
        None => converse(BufReader::new(stream), false, taken).await,
    }
}

async fn converse<S>(mut stream: BufReader<S>, auth: bool, taken: &Mutex<Taken>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let capabilities = if auth {
        "250-localhost\r\n250-PIPELINING\r\n250-SIZE 200000000\r\n250-AUTH PLAIN\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
    } else {
        "250-localhost\r\n250-PIPELINING\r\n250-SIZE 200000000\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n"
    };
    let mut answers = b"220 localhost ESMTP sink\r\n".to_vec();
    let mut line = Vec::new();
    loop {
        // Answers wait for each other as long as requests are there already (RFC 2920).
        if stream.buffer().is_empty() {
            stream.write_all(&answers).await?;
            stream.flush().await?;
            answers.clear();
        }
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        line.make_ascii_uppercase();
        let answer = match line.get(..4).unwrap_or_default() {
            b"EHLO" => capabilities,
            b"AUTH" => "235 2.7.0 welcome\r\n",
            b"DATA" => {
                answers.extend_from_slice(b"354 go on\r\n");
                stream.write_all(&answers).await?;
                stream.flush().await?;
                answers.clear();
                let (id, bytes) = message(&mut stream, &mut line).await?;
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                taken.messages += 1;
                taken.bytes += bytes;
                *taken.ids.entry(id).or_default() += 1;
                "250 2.0.0 taken\r\n"
            }
            b"QUIT" => {
                answers.extend_from_slice(b"221 2.0.0 bye\r\n");
                stream.write_all(&answers).await?;
                return stream.shutdown().await;
            }
            _ => "250 2.1.0 fine\r\n",
        };
        answers.extend_from_slice(answer.as_bytes());
    }
}

/// Reads up to the lone dot; the Message-ID, and how many bytes came.
async fn message<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
    line: &mut Vec<u8>,
) -> std::io::Result<(Vec<u8>, usize)> {
    let (mut id, mut bytes) = (Vec::new(), 0);
    loop {
        line.clear();
        if stream.read_until(b'\n', line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok((id, bytes));
        }
        bytes += line.len();
        if id.is_empty() && line.len() > 11 && line[..11].eq_ignore_ascii_case(b"message-id:") {
            id = line[11..].trim_ascii().to_vec();
        }
    }
}

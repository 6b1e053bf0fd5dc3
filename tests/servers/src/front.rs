//! TLS before a server that speaks none, as a proxy in production stands before the API: a certificate for `localhost` and
//! 127.0.0.1 of an authority that nobody trusts until told to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::{
    Error,
    apart::{self, Apart},
    certificates::Certificates,
    or_panic, ports,
};

/// A running front; dropping it ends every connection and closes its port.
pub struct TlsFront {
    /// Where it speaks TLS on 127.0.0.1.
    pub port: u16,
    authority: String,
    _apart: Apart,
}

impl TlsFront {
    /// Stands before the plain server at `target`.
    ///
    /// # Panics
    /// When no port or no certificate can be had.
    pub async fn start(target: SocketAddr) -> Self {
        or_panic("cannot start a front with TLS", Self::try_start(target).await)
    }

    async fn try_start(target: SocketAddr) -> Result<Self, Error> {
        let certificates = Certificates::issue()?;
        let doing = || Error::io("cannot start a front with TLS");
        let acceptor =
            acceptor(&certificates).map_err(|error| doing()(std::io::Error::other(error.to_string())))?;
        let [port] = ports::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(doing())?;
        let apart = apart::serve(listener, async move |listener| {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(target).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        })?;
        Ok(Self { port, authority: certificates.authority, _apart: apart })
    }

    /// The certificate of its authority, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }
}

fn acceptor(certificates: &Certificates) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let chain = vec![CertificateDer::from_pem_slice(certificates.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

//! The certificates that a gate can show, and the trust in the server behind it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::Error;

/// Which certificate a client gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// One that is right in every way.
    Good,
    /// One of an authority that is in nobody's hands.
    OfNobody,
    /// One for another name.
    ForAnother,
    /// One that was right once.
    Expired,
}

/// A gate's four faces.
pub(super) struct Identity {
    pub(super) authority: String,
    good: TlsAcceptor,
    of_nobody: TlsAcceptor,
    for_another: TlsAcceptor,
    expired: TlsAcceptor,
    pub(super) server: TlsConnector,
}

impl Identity {
    pub(super) fn make(server_ca: &str) -> Result<Self, Error> {
        generate(server_ca)
            .map_err(|error| Error::io("cannot make a gate's certificates")(std::io::Error::other(error)))
    }

    pub(super) fn acceptor(&self, shown: Shown) -> &TlsAcceptor {
        match shown {
            Shown::Good => &self.good,
            Shown::OfNobody => &self.of_nobody,
            Shown::ForAnother => &self.for_another,
            Shown::Expired => &self.expired,
        }
    }
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

fn generate(server_ca: &str) -> Result<Identity, Anything> {
    let (known, authority) = authority("Gate test authority")?;
    let (unknown, _) = authority_of_nobody()?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server_ca.as_bytes())?)?;
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Identity {
        authority,
        good: acceptor("localhost", &known, false)?,
        of_nobody: acceptor("localhost", &unknown, false)?,
        for_another: acceptor("elsewhere.example", &known, false)?,
        expired: acceptor("localhost", &known, true)?,
        server: TlsConnector::from(Arc::new(client)),
    })
}

fn authority_of_nobody() -> Result<(Issuer<'static, KeyPair>, String), Anything> {
    authority("Nobody's authority")
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), Anything> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn acceptor(host: &str, issuer: &Issuer<'_, KeyPair>, expired: bool) -> Result<TlsAcceptor, Anything> {
    let mut params = CertificateParams::new([host.to_owned()])?;
    if expired {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

//! Whom TLS trusts: the system's authorities, and a profile's own CA beside them. Verification has no off switch.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use crate::error::{Distrust, Error, Kind, Phase};

/// How many server names each set of authorities keeps TLS session tickets for.
const TICKETS: usize = 4096;
/// How many profiles' own CAs are kept prepared; past it they are prepared anew.
const AUTHORITIES: usize = 1024;

/// TLS as one profile wants it. Cheap to clone; clones share session tickets.
#[derive(Clone)]
pub struct TlsSettings(pub(super) Arc<ClientConfig>);

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsSettings")
    }
}

/// Every [`TlsSettings`] of a process, with the session tickets that make the next handshake cheap: the one thing a
/// worker keeps between deliveries. Cheap to clone; make one per process.
///
/// Profiles with different CAs never share tickets, so a session that one profile's CA vouched for is never resumed
/// for another profile.
#[derive(Clone)]
pub struct Trust(Arc<Known>);

struct Known {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    system: TlsSettings,
    profiles: Mutex<HashMap<[u8; 32], TlsSettings>>,
}

impl Trust {
    /// Reads the system's authorities. A system without any trusts nobody but the CAs that profiles name.
    pub fn system() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!(
                "no certificate authorities found on this system: only CAs named on profiles are trusted"
            );
        } else {
            tracing::debug!(added, ignored, "certificate authorities of this system loaded");
        }
        let provider = Arc::new(ring::default_provider());
        let system = TlsSettings(Arc::new(configuration(&provider, roots.clone())));
        Self(Arc::new(Known { provider, roots, system, profiles: Mutex::default() }))
    }

    /// The settings of a profile: the system's authorities, and the profile's own CA (one or more PEM certificates)
    /// in addition to them when it names one.
    pub fn for_profile(&self, ca_pem: Option<&[u8]>) -> Result<TlsSettings, Error> {
        let Some(pem) = ca_pem else { return Ok(self.0.system.clone()) };
        let key: [u8; 32] = Sha256::digest(pem).into();
        if let Some(known) = self.profiles().get(&key) {
            return Ok(known.clone());
        }
        let mut roots = self.0.roots.clone();
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificate.ok().and_then(|certificate| roots.add(certificate).ok()).ok_or_else(unreadable)?;
        }
        if roots.len() == before {
            return Err(unreadable());
        }
        let settings = TlsSettings(Arc::new(configuration(&self.0.provider, roots)));
        let mut profiles = self.profiles();
        if profiles.len() >= AUTHORITIES {
            profiles.clear();
        }
        Ok(profiles.entry(key).or_insert(settings).clone())
    }

    fn profiles(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], TlsSettings>> {
        self.0.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

fn unreadable() -> Error {
    Error::new(Phase::Tls, Kind::AuthorityUnreadable)
}

fn configuration(provider: &Arc<CryptoProvider>, roots: RootCertStore) -> ClientConfig {
    #[expect(clippy::expect_used, reason = "ring supports TLS 1.2 and 1.3, whatever the input")]
    let mut configuration = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    configuration.resumption = Resumption::in_memory_sessions(TICKETS);
    configuration
}

/// Why a handshake failed, from rustls's words; `None` when it was not TLS that failed.
pub(super) fn judge(cause: &std::io::Error) -> Option<Kind> {
    let cause = cause.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match cause {
        rustls::Error::InvalidCertificate(why) => Kind::CertificateNotTrusted(distrust(why)),
        rustls::Error::InvalidMessage(_) => Kind::TlsOnPlain,
        _ => Kind::TlsFailed,
    })
}

fn distrust(why: &CertificateError) -> Distrust {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::NotYetValid,
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Distrust::WrongHost
        }
        CertificateError::Revoked => Distrust::Revoked,
        // webpki names this one only inside its own error, which rustls passes on without a variant.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Distrust::AuthorityAsServer
        }
        _ => Distrust::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_with_a_remedy() {
        let trust = Trust::system();
        for bad in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = trust.for_profile(Some(bad.as_bytes())).unwrap_err();
            assert_eq!(error.kind(), &Kind::AuthorityUnreadable, "{bad}");
            assert!(error.to_string().contains("PEM"));
        }
    }

    #[test]
    fn the_same_ca_shares_tickets_and_another_does_not() {
        let trust = Trust::system();
        let pem = |name: &str| {
            rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem().into_bytes()
        };
        let (one, other) = (pem("one"), pem("other"));
        let settings = |pem: &[u8]| trust.clone().for_profile(Some(pem)).unwrap().0;
        assert!(Arc::ptr_eq(&settings(&one), &settings(&one)));
        assert!(!Arc::ptr_eq(&settings(&one), &settings(&other)));
        assert!(Arc::ptr_eq(&trust.for_profile(None).unwrap().0, &trust.for_profile(None).unwrap().0));
    }
}

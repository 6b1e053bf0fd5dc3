//! Envelope encryption of secrets: every secret has its own data key, and that key is wrapped by a key of the ring.
//! A sealed secret opens only for the organization and credential it was sealed for. Nothing here prints a key.

mod ring;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use model::clock::random_bytes;
use model::id::{CredentialId, OrganizationId};
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

pub use ring::{BadKeyRing, KeyRing};

/// The first byte of what is stored; another layout gets another number.
const VERSION: u8 = 1;
const NONCE: usize = 12;
/// A wrapped data key: 32 bytes and the tag.
const WRAPPED: usize = 48;

/// Why a sealed secret cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpen {
    /// The key that sealed it is not in the ring.
    #[error(
        "a secret is sealed with the key `{name}`, which the key ring does not hold: put that key back into the ring, \
         behind the active one, and remove it only after the secrets were sealed again"
    )]
    UnknownKey {
        /// The name of the missing key.
        name: String,
    },
    /// It was changed, moved from another row, or sealed with another key of the same name.
    #[error(
        "a sealed secret does not open with the key `{name}`: it was changed, or the ring holds another key under \
         that name; restore the key, or store the secret again"
    )]
    NotAuthentic {
        /// The name of the key that was tried.
        name: String,
    },
    /// It was written by a version of Lockstep that this one does not know, or is damaged.
    #[error(
        "a sealed secret has an unknown form: run the version of Lockstep that wrote it, or store the secret again"
    )]
    UnknownForm,
}

/// What is stored of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Version, wrap nonce, wrapped data key, nonce, sealed text.
    pub bytes: Vec<u8>,
    /// The name of the key that wrapped the data key.
    pub key: String,
}

/// Which secret of a credential: one never opens in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The password.
    Password,
    /// The secret of an application.
    ClientSecret,
    /// A refresh token.
    Refresh,
    /// An access token.
    Access,
    /// A consent's verifier (RFC 7636).
    Verifier,
}

impl Part {
    /// What is bound in; passwords were sealed before there were other parts.
    const fn name(self) -> &'static str {
        match self {
            Self::Password => "",
            Self::ClientSecret => "\x00client secret",
            Self::Refresh => "\x00refresh token",
            Self::Access => "\x00access token",
            Self::Verifier => "\x00verifier",
        }
    }
}

/// Seals a password with the ring's active key.
pub fn seal(
    ring: &KeyRing,
    organization: OrganizationId,
    credential: CredentialId,
    secret: &Secret,
) -> Sealed {
    seal_part(ring, organization, credential, Part::Password, secret)
}

/// Seals one of a credential's secrets with the ring's active key.
pub fn seal_part(
    ring: &KeyRing,
    organization: OrganizationId,
    credential: CredentialId,
    part: Part,
    secret: &Secret,
) -> Sealed {
    let (name, key) = ring.active();
    let bound = bound_to(organization, credential, name, part);
    let data_key = Zeroizing::new(random_bytes::<32>());
    let (wrap_nonce, nonce) = (random_bytes::<NONCE>(), random_bytes::<NONCE>());
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&wrap_nonce);
    bytes.extend(encrypt(key, wrap_nonce, &bound, data_key.as_slice()));
    bytes.extend_from_slice(&nonce);
    bytes.extend(encrypt(&data_key, nonce, &bound, secret.expose_secret().as_bytes()));
    Sealed { bytes, key: name.to_owned() }
}

/// Opens a password; only `credential::open` does.
pub(crate) fn open(
    ring: &KeyRing,
    organization: OrganizationId,
    credential: CredentialId,
    sealed: &Sealed,
) -> Result<Secret, CannotOpen> {
    open_part(ring, organization, credential, Part::Password, sealed)
}

/// Opens one of a credential's secrets; only `credential` and `oauth` do.
pub(crate) fn open_part(
    ring: &KeyRing,
    organization: OrganizationId,
    credential: CredentialId,
    part: Part,
    sealed: &Sealed,
) -> Result<Secret, CannotOpen> {
    let name = &sealed.key;
    let key = ring.find(name).ok_or_else(|| CannotOpen::UnknownKey { name: name.clone() })?;
    let bound = bound_to(organization, credential, name, part);
    let (version, rest) = sealed.bytes.split_first().ok_or(CannotOpen::UnknownForm)?;
    if *version != VERSION {
        return Err(CannotOpen::UnknownForm);
    }
    let (wrap_nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(CannotOpen::UnknownForm)?;
    let (wrapped, rest) = rest.split_first_chunk::<WRAPPED>().ok_or(CannotOpen::UnknownForm)?;
    let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or(CannotOpen::UnknownForm)?;
    let not_authentic = || CannotOpen::NotAuthentic { name: name.clone() };
    let data_key = decrypt(key, *wrap_nonce, &bound, wrapped).ok_or_else(not_authentic)?;
    let data_key: &[u8; 32] = data_key.as_slice().try_into().map_err(|_| CannotOpen::UnknownForm)?;
    let text = decrypt(data_key, *nonce, &bound, text).ok_or_else(not_authentic)?;
    let text = std::str::from_utf8(&text).map_err(|_| CannotOpen::UnknownForm)?;
    Ok(Secret::from(text.to_owned()))
}

/// What a sealed secret cannot be taken away from.
fn bound_to(organization: OrganizationId, credential: CredentialId, key: &str, part: Part) -> Vec<u8> {
    let mut bound = b"lockstep secret\x01".to_vec();
    bound.extend_from_slice(organization.0.as_bytes());
    bound.extend_from_slice(credential.0.as_bytes());
    bound.extend_from_slice(key.as_bytes());
    // No name of a key has a NUL in it, with which every part but the first begins.
    bound.extend_from_slice(part.name().as_bytes());
    bound
}

#[expect(clippy::expect_used, reason = "AES-GCM refuses only texts beyond 64 GiB")]
fn encrypt(key: &[u8; 32], nonce: [u8; NONCE], bound: &[u8], text: &[u8]) -> Vec<u8> {
    Aes256Gcm::new(key.into())
        .encrypt(&nonce.into(), Payload { msg: text, aad: bound })
        .expect("a secret is far below the cipher's limit")
}

fn decrypt(key: &[u8; 32], nonce: [u8; NONCE], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    Aes256Gcm::new(key.into())
        .decrypt(&nonce.into(), Payload { msg: sealed, aad: bound })
        .ok()
        .map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(names: &[&str]) -> KeyRing {
        use base64::Engine as _;
        let line = |name: &&str| {
            format!("{name}:{}", base64::prelude::BASE64_STANDARD.encode([name.as_bytes()[0]; 32]))
        };
        KeyRing::from_text(&names.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    fn ids() -> (OrganizationId, CredentialId) {
        (model::clock::new_id(), model::clock::new_id())
    }

    #[test]
    fn a_secret_comes_back_and_never_looks_the_same_twice() {
        let (ring, (organization, credential)) = (ring(&["first"]), ids());
        let secret = Secret::from("pässword");
        let one = seal(&ring, organization, credential, &secret);
        let two = seal(&ring, organization, credential, &secret);
        assert!(one.bytes != two.bytes);
        let opened = open(&ring, organization, credential, &one).unwrap();
        assert_eq!(opened.expose_secret(), "pässword");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (ring, (organization, credential)) = (ring(&["first"]), ids());
        let sealed = seal(&ring, organization, credential, &Secret::from("password"));
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert!(open(&ring, organization, credential, &changed).is_err(), "byte {at}");
            let mut cut = sealed.clone();
            cut.bytes.truncate(at);
            assert!(open(&ring, organization, credential, &cut).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_secret_opens_for_no_other_organization_and_no_other_credential() {
        let (ring, (organization, credential)) = (ring(&["first"]), ids());
        let sealed = seal(&ring, organization, credential, &Secret::from("password"));
        let (other_organization, other_credential) = ids();
        for (organization, credential) in [(other_organization, credential), (organization, other_credential)]
        {
            let refused = open(&ring, organization, credential, &sealed).unwrap_err();
            assert_eq!(refused, CannotOpen::NotAuthentic { name: "first".into() });
        }
    }

    #[test]
    fn a_secret_opens_in_no_other_secrets_place() {
        let (ring, (organization, credential)) = (ring(&["first"]), ids());
        let parts = [Part::Password, Part::ClientSecret, Part::Refresh, Part::Access, Part::Verifier];
        for part in parts {
            let sealed = seal_part(&ring, organization, credential, part, &Secret::from("token"));
            for other in parts {
                let opened = open_part(&ring, organization, credential, other, &sealed);
                assert_eq!(opened.is_ok(), other == part, "{part:?} as {other:?}");
            }
        }
    }

    #[test]
    fn an_old_key_opens_and_the_active_one_seals() {
        let (organization, credential) = ids();
        let old = seal(&ring(&["old"]), organization, credential, &Secret::from("password"));
        let both = ring(&["new", "old"]);
        assert_eq!(open(&both, organization, credential, &old).unwrap().expose_secret(), "password");
        assert_eq!(seal(&both, organization, credential, &Secret::from("password")).key, "new");
        let refused = open(&ring(&["new"]), organization, credential, &old).unwrap_err();
        assert!(refused.to_string().contains("`old`"), "{refused}");
        assert!(refused.to_string().contains("put that key back"), "{refused}");
    }
}

//! What binds a proof to a connection: the hash of the server's certificate (RFC 5929 section 4, `tls-server-end-point`), as
//! Windows takes it (RFC 2744 section 3.11, hashed once more).

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha384, Sha512};

/// The bindings of a connection whose server showed this certificate, in DER.
pub(super) fn channel_bindings(certificate: &[u8]) -> [u8; 16] {
    let data = [b"tls-server-end-point:".as_slice(), &end_point(certificate)].concat();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = Md5::new();
    // Neither side's address is told.
    hash.update([0; 16]);
    hash.update(length.to_le_bytes());
    hash.update(&data);
    hash.finalize().into()
}

/// The certificate's hash, by the one that its signature uses, and SHA-256 at least.
fn end_point(certificate: &[u8]) -> Vec<u8> {
    match signature(certificate).unwrap_or_default() {
        // sha384WithRSAEncryption and ecdsa-with-SHA384 (RFC 8017, RFC 5758).
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => Sha384::digest(certificate).to_vec(),
        // The same with SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d]
        | [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => Sha512::digest(certificate).to_vec(),
        _ => Sha256::digest(certificate).to_vec(),
    }
}

/// The object identifier of the signature's algorithm: what follows the signed part (RFC 5280 section 4.1).
fn signature(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, _) = element(certificate, 0x30)?;
    let (_, after) = element(whole, 0x30)?;
    let (algorithm, _) = element(after, 0x30)?;
    Some(element(algorithm, 0x06)?.0)
}

/// The content of the element of this tag that the bytes begin with, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long @ 0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, 32),
            (&rcgen::PKCS_ECDSA_P384_SHA384, 48),
            (&rcgen::PKCS_ED25519, 32),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let parameters = rcgen::CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            assert_eq!(end_point(certificate.der()).len(), length);
            assert_ne!(channel_bindings(certificate.der()), channel_bindings(b"another"));
        }
        for none in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x82\xff", b"\x30\x03\x30\x01\x00"]
        {
            assert_eq!(signature(none), None);
        }
    }
}

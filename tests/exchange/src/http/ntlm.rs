//! NTLM as a server takes it over HTTP: a challenge, and an `NTLMv2` answer to it. It checks who somebody is and nothing
//! else: neither signing nor sealing, and no older version.
//!
//! <https://learn.microsoft.com/openspecs/windows_protocols/ms-nlmp/> and `ms-nthp` beside it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// The domain that the server says it is in.
const DOMAIN: &str = "LOCKSTEP";
/// Unicode, NTLM, a target with its description, 128 bits.
const FLAGS: u32 =
    0x0000_0001 | 0x0000_0004 | 0x0000_0200 | 0x0001_0000 | 0x0008_0000 | 0x0080_0000 | 0x2000_0000;
/// What is agreed to when a client asks for it: always sign, sign, key exchange, 56 bits.
const AGREED: u32 = 0x0000_8000 | 0x0000_0010 | 0x4000_0000 | 0x8000_0000;

/// What a client says.
pub(super) enum Said {
    Negotiate { flags: u32 },
    Authenticate(Answer),
}

/// The answer to a challenge.
pub(super) struct Answer {
    pub(super) domain: String,
    pub(super) user: String,
    response: Vec<u8>,
}

impl Said {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        if message.get(..8)? != SIGNATURE {
            return None;
        }
        match number(message, 8)? {
            1 => Some(Self::Negotiate { flags: number(message, 12).unwrap_or_default() }),
            3 => Some(Self::Authenticate(Answer {
                domain: text(field(message, 28)?),
                user: text(field(message, 36)?),
                response: field(message, 20)?.to_vec(),
            })),
            _ => None,
        }
    }
}

impl Answer {
    /// Whether it was made with this password for this challenge.
    pub(super) fn proves(&self, password: &str, challenge: [u8; 8]) -> bool {
        let Some((proof, rest)) = self.response.split_at_checked(16) else { return false };
        // NTLM of the first version has 24 bytes and is refused.
        if rest.len() < 28 {
            return false;
        }
        let name = format!("{}{}", self.user.to_uppercase(), self.domain);
        let key = keyed(&Md4::digest(wide(password)), &[&wide(&name)]);
        keyed(&key, &[&challenge, rest]) == *proof
    }
}

/// The challenge message to a client that asked with `flags`.
pub(super) fn challenge(flags: u32, challenge: [u8; 8]) -> Vec<u8> {
    let target = wide(DOMAIN);
    let mut info = Vec::new();
    let mut add = |id: u16, value: &[u8]| {
        info.extend_from_slice(&id.to_le_bytes());
        info.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
        info.extend_from_slice(value);
    };
    add(2, &target);
    add(1, &wide("EXCHANGE"));
    add(4, &wide("lockstep.invalid"));
    add(3, &wide("exchange.lockstep.invalid"));
    add(0, &[]);
    let mut message = SIGNATURE.to_vec();
    message.extend_from_slice(&2_u32.to_le_bytes());
    let begin = 56_usize;
    place(&mut message, target.len(), begin);
    message.extend_from_slice(&(FLAGS | flags & AGREED).to_le_bytes());
    message.extend_from_slice(&challenge);
    message.extend_from_slice(&[0; 8]);
    place(&mut message, info.len(), begin + target.len());
    // The version of Windows that this is not.
    message.extend_from_slice(&[10, 0, 0, 0, 0, 0, 0, 15]);
    message.extend_from_slice(&target);
    message.extend_from_slice(&info);
    message
}

/// Length, length again and offset.
fn place(message: &mut Vec<u8>, length: usize, offset: usize) {
    let length = u16::try_from(length).unwrap_or_default().to_le_bytes();
    message.extend_from_slice(&length);
    message.extend_from_slice(&length);
    message.extend_from_slice(&u32::try_from(offset).unwrap_or_default().to_le_bytes());
}

fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16::from_le_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let offset = usize::try_from(number(message, at + 4)?).ok()?;
    message.get(offset..offset.checked_add(length)?)
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(message.get(at..at + 4)?.try_into().ok()?))
}

fn text(wide: &[u8]) -> String {
    let units: Vec<u16> = wide.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MS-NLMP 4.2.4: user `User`, domain `Domain`, password `Password`.
    #[test]
    fn the_example_of_the_specification_is_proved() {
        let challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let mut temp = vec![1, 1, 0, 0, 0, 0, 0, 0];
        temp.extend_from_slice(&[0; 8]);
        temp.extend_from_slice(&[0xaa; 8]);
        temp.extend_from_slice(&[0; 4]);
        temp.extend_from_slice(&[2, 0, 12, 0]);
        temp.extend_from_slice(&wide("Domain"));
        temp.extend_from_slice(&[1, 0, 12, 0]);
        temp.extend_from_slice(&wide("Server"));
        temp.extend_from_slice(&[0; 8]);
        let proof =
            [0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef, 0x6a, 0x1c];
        let response = [&proof[..], &temp].concat();
        let answer = Answer { domain: "Domain".into(), user: "User".into(), response };
        assert!(answer.proves("Password", challenge));
        assert!(!answer.proves("password", challenge));
        assert!(!answer.proves("Password", [0; 8]));
    }

    #[test]
    fn what_is_cut_or_older_is_refused() {
        assert!(Said::parse(b"NTLMSSP\0\x03\0\0\0").is_none());
        assert!(Said::parse(b"").is_none());
        let old = Answer { domain: String::new(), user: "User".into(), response: vec![0; 24] };
        assert!(!old.proves("", [0; 8]));
    }
}

//! NTLM over HTTP (MS-NLMP, MS-NTHT), version 2 of its responses alone: a password is proved to a server that takes nothing
//! better, as Exchange does when nobody has set it up otherwise. The password does not leave; the connection is bound to the
//! proof where the server wants that.
//!
//! It must never answer with version 1, sign or seal anything, or prove the password to somebody else's connection.
//!
//! <https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-nlmp>

mod binding;
mod challenge;
mod handshake;

use hmac::{Hmac, KeyInit as _, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

use binding::channel_bindings;
use challenge::{Challenge, Pair, pairs};
pub(super) use handshake::{Shaken, shake_hands};

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Text in UTF-16, a target is asked for, NTLM, always sign, extended session security, 128 and 56 bits.
const FLAGS: u32 =
    0x0000_0001 | 0x0000_0004 | 0x0000_0200 | 0x0000_8000 | 0x0008_0000 | 0x2000_0000 | 0x8000_0000;
/// Where the payload of the last message begins: after the fields, the version and the check of integrity.
const PAYLOAD: usize = 88;
const CHECK: std::ops::Range<usize> = 72..88;

/// Who signs in.
pub(super) struct Account<'a> {
    user: &'a str,
    domain: &'a str,
    password: &'a Secret,
}

/// What is random or a time in an answer: given, so that known answers can be held against it.
struct Salt {
    /// The client's own challenge.
    challenge: [u8; 8],
    /// 100 nanoseconds since 1601, where the server gave no time.
    now: u64,
}

impl<'a> Account<'a> {
    /// `EXAMPLE\anna` or `anna@example.com`.
    pub(super) fn new(login: &'a str, password: &'a Secret) -> Self {
        let (domain, user) = login.split_once('\\').unwrap_or(("", login));
        Self { user, domain, password }
    }

    /// The hash that stands for the password from here on (section 3.3.2, `NTOWFv2`).
    fn key(&self) -> Zeroizing<[u8; 16]> {
        let password = Zeroizing::new(utf16(self.password.expose_secret()));
        let hash = Zeroizing::new(<[u8; 16]>::from(Md4::digest(password.as_slice())));
        let name = utf16(&format!("{}{}", self.user.to_uppercase(), self.domain));
        Zeroizing::new(keyed(hash.as_slice(), &[&name]))
    }
}

/// The first message (section 2.2.1.1).
fn negotiate() -> Vec<u8> {
    let mut message = [SIGNATURE.as_slice(), &1_u32.to_le_bytes(), &FLAGS.to_le_bytes()].concat();
    // Neither a domain nor a workstation.
    message.extend_from_slice(&[0; 16]);
    message
}

/// The last message (section 2.2.1.3), which answers the server's challenge to the first.
fn authenticate(
    account: &Account<'_>,
    negotiated: &[u8],
    challenge: &Challenge<'_>,
    host: &str,
    bindings: Option<[u8; 16]>,
    salt: &Salt,
) -> Zeroizing<Vec<u8>> {
    let key = account.key();
    let time = challenge.time();
    let target = target_info(challenge, host, bindings, time.is_some());
    let proof = response(&key, challenge.nonce(), time.unwrap_or(salt.now), salt.challenge, &target);
    // A server that gives the time takes no answer of the older kind (section 3.1.5.1.2).
    let lan_manager = if time.is_some() {
        vec![0; 24]
    } else {
        let hash = keyed(key.as_slice(), &[challenge.nonce(), &salt.challenge]);
        [hash.as_slice(), &salt.challenge].concat()
    };
    let mut payload = Vec::new();
    let mut fields = Vec::new();
    for part in [&lan_manager, &proof, &utf16(account.domain), &utf16(account.user), &Vec::new(), &Vec::new()]
    {
        // Each fits: they are bounded by the challenge and by what a login may be.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes();
        let offset = u32::try_from(PAYLOAD + payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        fields.extend([length.as_slice(), &length, &offset].concat());
        payload.extend_from_slice(part);
    }
    let flags = (FLAGS & challenge.flags()).to_le_bytes();
    let head = [SIGNATURE.as_slice(), &3_u32.to_le_bytes(), &fields, &flags, &[0; 8], &[0; 16]].concat();
    let mut message = Zeroizing::new([head, payload].concat());
    if time.is_some() {
        // The session's key: no other is exchanged, since nothing is signed or sealed with it.
        let session = Zeroizing::new(keyed(key.as_slice(), &[proof.get(..16).unwrap_or_default()]));
        let check = keyed(session.as_slice(), &[negotiated, challenge.message(), &message]);
        message[CHECK].copy_from_slice(&check);
    }
    message
}

/// `NTLMv2_RESPONSE` (sections 2.2.2.7, 2.2.2.8 and 3.3.2).
fn response(key: &[u8; 16], nonce: &[u8], time: u64, own: [u8; 8], target: &[u8]) -> Vec<u8> {
    let blob =
        [[1, 1, 0, 0, 0, 0, 0, 0].as_slice(), &time.to_le_bytes(), &own, &[0; 4], target, &[0; 4]].concat();
    let proof = keyed(key, &[nonce, &blob]);
    [proof.as_slice(), &blob].concat()
}

/// What the server said about itself, with what we say about the connection (section 3.1.5.1.2).
fn target_info(challenge: &Challenge<'_>, host: &str, bindings: Option<[u8; 16]>, checked: bool) -> Vec<u8> {
    let said = pairs(challenge.target_info());
    let flags = said.iter().find(|pair| pair.id == Pair::FLAGS).and_then(|pair| pair.value.try_into().ok());
    let flags = u32::from_le_bytes(flags.unwrap_or_default()) | if checked { 2 } else { 0 };
    let ours = [Pair::FLAGS, Pair::BINDINGS, Pair::TARGET];
    let mut info = Vec::new();
    let mut push = |id: u16, value: &[u8]| {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        info.extend([id.to_le_bytes().as_slice(), &length.to_le_bytes(), value].concat());
    };
    for pair in said.iter().filter(|pair| !ours.contains(&pair.id)) {
        push(pair.id, pair.value);
    }
    if checked {
        push(Pair::FLAGS, &flags.to_le_bytes());
        push(Pair::BINDINGS, &bindings.unwrap_or_default());
        push(Pair::TARGET, &utf16(&format!("HTTP/{host}")));
    }
    push(Pair::END, &[]);
    info
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    const NONCE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

    fn target() -> Vec<u8> {
        [hex("02 00 0c 00"), utf16("Domain"), hex("01 00 0c 00"), utf16("Server"), hex("00 00 00 00")]
            .concat()
    }

    /// A challenge with this target information.
    fn challenge(target: &[u8]) -> Vec<u8> {
        let length = u16::try_from(target.len()).unwrap().to_le_bytes();
        [
            SIGNATURE.as_slice(),
            &2_u32.to_le_bytes(),
            &[0; 8],
            &(FLAGS | 0x0080_0000).to_le_bytes(),
            &NONCE,
            &[0; 8],
            &length,
            &length,
            &48_u32.to_le_bytes(),
            target,
        ]
        .concat()
    }

    #[test]
    fn the_known_answers_of_the_specification_come_out() {
        // MS-NLMP section 4.2.4.
        let password = Secret::from("Password");
        let account = Account::new("Domain\\User", &password);
        let key = account.key();
        assert_eq!(key.as_slice(), hex("0c868a403bfd7a93a3001ef22ef02e3f"));
        let own = [0xaa; 8];
        let proof = response(&key, &NONCE, 0, own, &target());
        assert_eq!(proof[..16], hex("68cd0ab851e51c96aabc927bebef6a1c"));
        assert_eq!(
            keyed(key.as_slice(), &[&proof[..16]]).as_slice(),
            hex("8de40ccadbc14a82f15cb0ad0de95ca3")
        );
        let raw = challenge(&target());
        let challenge = Challenge::parse(&raw).unwrap();
        let salt = Salt { challenge: own, now: 0 };
        let message = authenticate(&account, &negotiate(), &challenge, "mail.example.com", None, &salt);
        // LMv2, then NTLMv2, where the fields say.
        assert_eq!(message[PAYLOAD..PAYLOAD + 24], hex("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
        assert_eq!(message[PAYLOAD + 24..PAYLOAD + 40], hex("68cd0ab851e51c96aabc927bebef6a1c"));
        assert_eq!(message[CHECK], [0; 16], "nothing is checked for a server that does not give the time");
    }

    #[test]
    fn a_server_that_gives_the_time_gets_a_proof_bound_to_the_connection() {
        let password = Secret::from("Password");
        let account = Account::new("User", &password);
        let time =
            [hex("07 00 08 00"), 133_000_000_000_000_000_u64.to_le_bytes().to_vec(), hex("00 00 00 00")]
                .concat();
        let raw = challenge(&time);
        let challenge = Challenge::parse(&raw).unwrap();
        let salt = Salt { challenge: [0xaa; 8], now: 0 };
        let bound = |bindings| {
            authenticate(&account, &negotiate(), &challenge, "mail.example.com", bindings, &salt).to_vec()
        };
        let message = bound(Some([7; 16]));
        assert_eq!(message[PAYLOAD..PAYLOAD + 24], [0; 24]);
        let has = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
        assert!(has(&[hex("0a 00 10 00"), vec![7; 16]].concat()), "the bindings");
        assert!(has(&hex("06 00 04 00 02 00 00 00")), "that there is a check");
        assert!(has(&utf16("HTTP/mail.example.com")));
        assert_ne!(message[CHECK], [0; 16]);
        assert_ne!(message, bound(Some([8; 16])), "another connection has another proof");
        assert!(!has(&utf16("Password")) && !has(b"Password"));
    }

    #[test]
    fn the_first_message_says_nothing_about_anybody() {
        assert_eq!(
            negotiate(),
            [SIGNATURE.as_slice(), &hex("01000000 05820 8a0 00000000 00000000 00000000 00000000")].concat()
        );
    }
}

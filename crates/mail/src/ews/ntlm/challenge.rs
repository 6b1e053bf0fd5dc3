//! What the server asks (MS-NLMP section 2.2.1.2), taken apart without trusting any of its lengths.

use super::SIGNATURE;

/// The longest challenge. Names of a forest are some hundred bytes.
const LONGEST: usize = 8 * 1024;

/// A server's challenge.
pub(super) struct Challenge<'a>(&'a [u8]);

/// Something that the server says about itself (section 2.2.2.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair<'a> {
    pub(super) id: u16,
    pub(super) value: &'a [u8],
}

impl Pair<'_> {
    pub(super) const END: u16 = 0;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const TIME: u16 = 7;
    pub(super) const TARGET: u16 = 9;
    pub(super) const BINDINGS: u16 = 10;
}

impl<'a> Challenge<'a> {
    /// None where it is no challenge.
    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let is_one = message.starts_with(SIGNATURE) && message.get(8..12)? == [2, 0, 0, 0];
        (is_one && (48..=LONGEST).contains(&message.len())).then_some(Self(message))
    }

    /// All of it.
    pub(super) fn message(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn flags(&self) -> u32 {
        number(self.0, 20)
    }

    pub(super) fn nonce(&self) -> &'a [u8] {
        self.0.get(24..32).unwrap_or_default()
    }

    /// What the server says about itself; nothing where it says nothing that can be found.
    pub(super) fn target_info(&self) -> &'a [u8] {
        let length = usize::from(u16::from_le_bytes([
            self.0.get(40).copied().unwrap_or_default(),
            self.0.get(41).copied().unwrap_or_default(),
        ]));
        let begin = usize::try_from(number(self.0, 44)).unwrap_or(usize::MAX);
        self.0.get(begin..begin.saturating_add(length)).unwrap_or_default()
    }

    /// The server's time, in 100 nanoseconds since 1601.
    pub(super) fn time(&self) -> Option<u64> {
        let pairs = pairs(self.target_info());
        let time = pairs.iter().find(|pair| pair.id == Pair::TIME)?;
        Some(u64::from_le_bytes(time.value.try_into().ok()?))
    }
}

/// The pairs up to the end, or to what is none.
pub(super) fn pairs(info: &[u8]) -> Vec<Pair<'_>> {
    let mut pairs = Vec::new();
    let mut rest = info;
    while let [id, id_high, length, length_high, after @ ..] = rest {
        let id = u16::from_le_bytes([*id, *id_high]);
        let length = usize::from(u16::from_le_bytes([*length, *length_high]));
        let Some(value) = after.get(..length).filter(|_| id != Pair::END) else { break };
        pairs.push(Pair { id, value });
        rest = &after[length..];
    }
    pairs
}

fn number(message: &[u8], at: usize) -> u32 {
    let bytes = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_challenge_is_one() {
        let mut message = [SIGNATURE.as_slice(), &[2, 0, 0, 0], &[0; 36]].concat();
        assert!(Challenge::parse(&message).is_some());
        message[8] = 1;
        assert!(Challenge::parse(&message).is_none());
        assert!(Challenge::parse(b"NTLMSSP\0").is_none());
        assert!(Challenge::parse(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(rest in proptest::collection::vec(any::<u8>(), 36..200)) {
            let message = [SIGNATURE.as_slice(), &[2, 0, 0, 0], &rest].concat();
            let challenge = Challenge::parse(&message).unwrap();
            let _ = (challenge.time(), challenge.flags(), challenge.nonce().len());
            prop_assert!(pairs(challenge.target_info()).len() <= message.len());
        }
    }
}

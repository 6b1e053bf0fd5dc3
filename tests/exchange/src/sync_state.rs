//! The opaque state of a synchronization. It says everything: the server keeps nothing about its clients.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::id::checksum;

/// How far a client is. A *run* goes from a request that begins one to the answer that includes the last item; it tells
/// what changed up to the moment it began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SyncState {
    pub(crate) place: usize,
    pub(crate) folder: u64,
    /// Changes up to here were told.
    pub(crate) position: u64,
    /// What the client knew when the run began.
    pub(crate) base: u64,
    /// Where the run ends.
    pub(crate) until: u64,
}

impl SyncState {
    pub(crate) fn encode(&self) -> String {
        let mut bytes = b"H4sI".to_vec();
        for number in
            [u64::try_from(self.place).unwrap_or_default(), self.folder, self.position, self.base, self.until]
        {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check.to_be_bytes());
        BASE64_STANDARD.encode(bytes)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
        let (content, check) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if checksum(content).to_be_bytes() != check || content.len() != 44 {
            return None;
        }
        let number = |place: usize| -> Option<u64> {
            let at = 4 + place * 8;
            Some(u64::from_be_bytes(content.get(at..at + 8)?.try_into().ok()?))
        };
        Some(Self {
            place: usize::try_from(number(0)?).ok()?,
            folder: number(1)?,
            position: number(2)?,
            base: number(3)?,
            until: number(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_whole_and_a_broken_one_is_not() {
        let state = SyncState { place: 1, folder: 7, position: 20, base: 10, until: 30 };
        let text = state.encode();
        assert_eq!(SyncState::decode(&text), Some(state));
        assert_eq!(SyncState::decode("bm9uc2Vuc2U="), None);
        assert_eq!(SyncState::decode(&text[4..]), None);
    }
}

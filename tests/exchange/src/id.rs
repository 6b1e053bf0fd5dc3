//! The opaque ids of Exchange: base64 that a client may compare and give back, and must never read.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What an id names. Mailboxes are counted by when they were added; numbers are never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Id {
    Folder { mailbox: usize, number: u64 },
    Item { mailbox: usize, number: u64 },
    Attachment { mailbox: usize, item: u64, number: u64 },
    Occurrence { mailbox: usize, item: u64, index: u64 },
}

/// Ids of Exchange begin with `AAMk`.
const BEGIN: [u8; 3] = [0, 3, 36];

impl Id {
    pub(crate) fn encode(self) -> String {
        let (kind, mailbox, first, second) = match self {
            Self::Folder { mailbox, number } => (1, mailbox, number, 0),
            Self::Item { mailbox, number } => (2, mailbox, number, 0),
            Self::Attachment { mailbox, item, number } => (3, mailbox, item, number),
            Self::Occurrence { mailbox, item, index } => (4, mailbox, item, index),
        };
        let mut bytes = BEGIN.to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(&u32::try_from(mailbox).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(&first.to_be_bytes());
        bytes.extend_from_slice(&second.to_be_bytes());
        // As long as real ones, so that a column that is too short is found out.
        bytes.extend_from_slice(&[b'.'; 80]);
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check.to_be_bytes());
        BASE64_STANDARD.encode(bytes)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
        let (content, check) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if checksum(content).to_be_bytes() != check || !content.starts_with(&BEGIN) {
            return None;
        }
        let mailbox = usize::try_from(u32::from_be_bytes(content.get(4..8)?.try_into().ok()?)).ok()?;
        let first = u64::from_be_bytes(content.get(8..16)?.try_into().ok()?);
        let second = u64::from_be_bytes(content.get(16..24)?.try_into().ok()?);
        match content.get(3)? {
            1 => Some(Self::Folder { mailbox, number: first }),
            2 => Some(Self::Item { mailbox, number: first }),
            3 => Some(Self::Attachment { mailbox, item: first, number: second }),
            4 => Some(Self::Occurrence { mailbox, item: first, index: second }),
            _ => None,
        }
    }
}

/// The change key of what changed last at `sequence`.
pub(crate) fn change_key(sequence: u64) -> String {
    let mut bytes = vec![9, 0, 0, 0, 22, 0, 0, 0];
    bytes.extend_from_slice(&sequence.to_be_bytes());
    BASE64_STANDARD.encode(bytes)
}

/// Whether a change key is one of this server's, whatever it is of.
pub(crate) fn is_change_key(text: &str) -> bool {
    BASE64_STANDARD
        .decode(text.trim())
        .is_ok_and(|bytes| bytes.len() == 16 && bytes.starts_with(&[9, 0, 0, 0, 22]))
}

/// FNV-1a, against ids that were cut or changed on the way.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_long_opaque_and_read_back_whole_only() {
        let id = Id::Attachment { mailbox: 3, item: 70_000, number: 2 };
        let text = id.encode();
        assert!(text.starts_with("AAMk") && text.len() > 140, "{text}");
        assert_eq!(Id::decode(&text), Some(id));
        assert_eq!(Id::decode(&text[4..]), None);
        assert_eq!(Id::decode(&text.to_lowercase()), None);
        assert_eq!(Id::decode(""), None);
    }
}

//! The keys that wrap data keys: the first is active, the others only open what they once sealed.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// A ring of named 256-bit keys. `Debug` shows the names.
#[derive(Clone)]
pub struct KeyRing {
    active: Named,
    others: Vec<Named>,
}

#[derive(Clone)]
struct Named {
    name: String,
    key: Zeroizing<[u8; 32]>,
}

/// Why a text is no key ring. The messages never repeat a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyRing {
    /// No key at all.
    #[error(
        "the key ring holds no key: give it one line `name:key`, with the key from `openssl rand -base64 32`"
    )]
    Empty,
    /// A line of another shape.
    #[error(
        "line {line} of the key ring is no `name:key`: write a name of letters, digits, `-` or `_`, a colon, a key"
    )]
    Line {
        /// Which, from 1.
        line: usize,
    },
    /// A key that is not 32 bytes in base64.
    #[error(
        "the key in line {line} of the key ring is not 32 bytes in base64: make one with `openssl rand -base64 32`"
    )]
    Key {
        /// Which line, from 1.
        line: usize,
    },
    /// A name twice.
    #[error("line {line} of the key ring repeats a name: every key has its own")]
    Repeated {
        /// Which, from 1.
        line: usize,
    },
}

impl KeyRing {
    /// Reads a ring: one `name:base64(32 bytes)` per line, the first is active; empty lines and lines that begin
    /// with `#` are passed over.
    pub fn from_text(text: &str) -> Result<Self, BadKeyRing> {
        let mut keys: Vec<Named> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (name, key) = content.split_once(':').ok_or(BadKeyRing::Line { line })?;
            let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
            if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
                return Err(BadKeyRing::Line { line });
            }
            let bytes =
                Zeroizing::new(BASE64_STANDARD.decode(key.trim()).map_err(|_| BadKeyRing::Key { line })?);
            let key = bytes.as_slice().try_into().map_err(|_| BadKeyRing::Key { line })?;
            if keys.iter().any(|named| named.name == name) {
                return Err(BadKeyRing::Repeated { line });
            }
            keys.push(Named { name: name.to_owned(), key: Zeroizing::new(key) });
        }
        let mut keys = keys.into_iter();
        let active = keys.next().ok_or(BadKeyRing::Empty)?;
        Ok(Self { active, others: keys.collect() })
    }

    /// The name of the key that new secrets are sealed with.
    pub fn active_name(&self) -> &str {
        &self.active.name
    }

    pub(super) fn active(&self) -> (&str, &[u8; 32]) {
        (&self.active.name, &self.active.key)
    }

    pub(super) fn find(&self, name: &str) -> Option<&[u8; 32]> {
        std::iter::once(&self.active)
            .chain(&self.others)
            .find(|named| named.name == name)
            .map(|named| &*named.key)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<_> = self.others.iter().map(|named| &named.name).collect();
        f.debug_struct("KeyRing").field("active", &self.active.name).field("others", &others).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_read_with_its_first_key_active_and_never_printed() {
        let key = BASE64_STANDARD.encode([7; 32]);
        let ring = KeyRing::from_text(&format!("# keys\n\nnew:{key}\n old:{key} \n")).unwrap();
        assert_eq!(ring.active_name(), "new");
        assert!(ring.find("old").is_some() && ring.find("older").is_none());
        assert_eq!(format!("{ring:?}"), r#"KeyRing { active: "new", others: ["old"] }"#);
    }

    #[test]
    fn what_is_no_ring_is_refused_with_the_line_and_a_remedy() {
        let key = BASE64_STANDARD.encode([7; 32]);
        for (text, refused) in [
            (String::new(), BadKeyRing::Empty),
            ("name".into(), BadKeyRing::Line { line: 1 }),
            (format!("\n:{key}"), BadKeyRing::Line { line: 2 }),
            (format!("a b:{key}"), BadKeyRing::Line { line: 1 }),
            ("a:short".into(), BadKeyRing::Key { line: 1 }),
            (format!("a:{}", BASE64_STANDARD.encode([7; 16])), BadKeyRing::Key { line: 1 }),
            (format!("a:{key}\na:{key}"), BadKeyRing::Repeated { line: 2 }),
        ] {
            assert_eq!(KeyRing::from_text(&text).unwrap_err(), refused, "{text}");
        }
    }
}

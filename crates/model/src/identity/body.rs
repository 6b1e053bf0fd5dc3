//! The digest of a body, however it comes: line ends made equal and empty lines at the end left out, as RFC 6376 section
//! 3.4.3 does. It must come out the same for a body in one piece and in many.

use sha2::{Digest as _, Sha256};

/// So many bytes of line ends are held back, for they may be the last ones. After more of them they count.
const HELD: usize = 1024 * 1024;

/// So many bytes of lines are digested at once.
const TOGETHER: usize = 64 * 1024;

/// Room for the line that passes over that.
const LINE: usize = 1024;

/// A digest that is fed piece by piece.
#[derive(Clone, Default)]
pub struct BodyDigest {
    digest: Sha256,
    /// Line ends since the last other byte, already made equal.
    held: Vec<u8>,
}

impl BodyDigest {
    /// Of a body in one piece.
    pub fn of(body: &[u8]) -> [u8; 32] {
        let mut digest = Self::default();
        digest.add(body);
        digest.finish()
    }

    /// Takes the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        // Lines are short: digested one by one, they would cost more in calls than in digesting.
        let mut lines = Vec::with_capacity(piece.len().min(TOGETHER) + LINE);
        let mut rest = piece;
        while !rest.is_empty() {
            let words = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            if words > 0 {
                lines.append(&mut self.held);
                lines.extend_from_slice(&rest[..words]);
                if lines.len() > TOGETHER {
                    self.digest.update(&lines);
                    lines.clear();
                }
            }
            rest = &rest[words..];
            let ends = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
            for byte in &rest[..ends] {
                if *byte == b'\n' && self.held.last() == Some(&b'\r') {
                    self.held.pop();
                }
                self.held.push(*byte);
                if self.held.len() >= HELD {
                    self.digest.update(&lines);
                    lines.clear();
                    self.digest.update(&self.held);
                    self.held.clear();
                }
            }
            rest = &rest[ends..];
        }
        self.digest.update(&lines);
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> [u8; 32] {
        self.digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference() {
        let body = b"one\r\n\r\ntwo\r\r\nthree\n\n\rfour\r\nfive\r\n\r\n\r";
        for size in 1..body.len() {
            let mut digest = BodyDigest::default();
            for piece in body.chunks(size) {
                digest.add(piece);
            }
            assert_eq!(digest.finish(), BodyDigest::of(body), "{size}");
        }
    }

    #[test]
    fn line_ends_and_empty_lines_at_the_end_do_not_count_and_all_else_does() {
        let of = |body: &str| BodyDigest::of(body.as_bytes());
        assert_eq!(of("a\r\nb\r\n"), of("a\nb"));
        assert_eq!(of("a\r\n\r\n\n"), of("a"));
        assert_eq!(of(""), of("\r\n"));
        for (one, other) in [("a\nb", "a\n\nb"), ("a", "a "), ("a", "b"), ("a\rb", "a\nb"), ("\na", "a")] {
            assert_ne!(of(one), of(other), "{one:?} {other:?}");
        }
        let long = format!("a{}", "\r\n".repeat(3 * HELD));
        assert_ne!(of(&long), of("a"), "held back for so long and no longer");
    }
}

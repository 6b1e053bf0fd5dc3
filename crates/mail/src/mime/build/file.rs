//! How a file travels within a message, and its content piece by piece in that form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::message::OutgoingAttachment;

use super::check::media_type;

/// The longest line that may leave (RFC 5322 section 2.1.1).
const LINE_BYTES: usize = 998;
/// What one line of base64 holds, 76 characters (RFC 2045 section 6.8), and how long it is with its end.
const HELD_BY_A_LINE: usize = 57;
const LINE_OF_BASE64: u64 = 78;

/// What must be known of a file's content before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its bytes.
    pub size: u64,
    /// Whether it can travel as it is ([`Cleanness`]). Asked only about files that [`may_be_as_it_is`].
    pub clean: bool,
}

impl Content {
    pub(super) fn of(file: &OutgoingAttachment) -> Self {
        let mut cleanness = Cleanness::default();
        if may_be_as_it_is(&file.content_type) {
            cleanness.look(&file.bytes);
        }
        Self { size: file.bytes.len() as u64, clean: cleanness.is_clean() }
    }
}

/// Whether a file of this media type travels as it is when its content is clean: a message, which must not be encoded
/// (RFC 2046 section 5.2.1).
pub fn may_be_as_it_is(content_type: &str) -> bool {
    media_type(content_type).is_some_and(|(kind, _)| kind.starts_with("message/"))
}

/// Whether bytes can travel as they are: ASCII lines of at most 998 bytes, ended by CRLF, without NUL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cleanness {
    unclean: bool,
    line: usize,
    after_cr: bool,
}

impl Cleanness {
    /// Looks at the next bytes of a content, cut anywhere.
    pub fn look(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.unclean |= !self.after_cr;
                (self.line, self.after_cr) = (0, false);
            } else {
                self.unclean |= self.after_cr || byte == 0 || !byte.is_ascii();
                self.after_cr = byte == b'\r';
                self.line += usize::from(!self.after_cr);
                self.unclean |= self.line > LINE_BYTES;
            }
        }
    }

    /// Whether everything so far can.
    pub fn is_clean(self) -> bool {
        !self.unclean
    }
}

/// How a content travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Byte by byte.
    AsItIs,
    /// In lines of base64 (RFC 2045 section 6.8), text as well: a file must arrive as it was.
    Base64,
}

impl Encoding {
    /// How many bytes of the message a content of this size becomes.
    pub fn size(self, content: u64) -> u64 {
        match self {
            Self::AsItIs => content,
            Self::Base64 => {
                let held = HELD_BY_A_LINE as u64;
                let rest = content % held;
                let last = if rest > 0 { rest.div_ceil(3) * 4 + 2 } else { 0 };
                content / held * LINE_OF_BASE64 + last
            }
        }
    }

    /// What brings a content into this form.
    pub fn encoder(self) -> Encoder {
        Encoder { encoding: self, waiting: Vec::new() }
    }
}

/// A content on its way into a message.
#[derive(Debug)]
pub struct Encoder {
    encoding: Encoding,
    /// What does not fill a line yet.
    waiting: Vec<u8>,
}

impl Encoder {
    /// Appends the form of the next bytes of the content, cut anywhere, to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if self.encoding == Encoding::AsItIs {
            out.extend_from_slice(bytes);
            return;
        }
        out.reserve((self.waiting.len() + bytes.len()) / HELD_BY_A_LINE * 78 + 80);
        if !self.waiting.is_empty() {
            let missing = (HELD_BY_A_LINE - self.waiting.len()).min(bytes.len());
            self.waiting.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.waiting.len() < HELD_BY_A_LINE {
                return;
            }
            line(&self.waiting, out);
            self.waiting.clear();
        }
        let mut lines = bytes.chunks_exact(HELD_BY_A_LINE);
        for held in &mut lines {
            line(held, out);
        }
        self.waiting.extend_from_slice(lines.remainder());
    }

    /// Appends what is left.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !self.waiting.is_empty() {
            line(&self.waiting, out);
            self.waiting.clear();
        }
    }
}

fn line(held: &[u8], out: &mut Vec<u8>) {
    let mut characters = [0; 76];
    if let Ok(length) = STANDARD.encode_slice(held, &mut characters) {
        out.extend_from_slice(&characters[..length]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as one sentence, for a content that is there as a whole.
    fn clean(content: &[u8]) -> bool {
        let lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
        lines.iter().rev().skip(1).all(|line| line.ends_with(b"\r"))
            && lines.iter().all(|line| {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                line.len() <= LINE_BYTES
                    && line.iter().all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'\r'))
            })
    }

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![8 => Just(b'a'), 2 => Just(b'\r'), 2 => Just(b'\n'), 1 => any::<u8>()];
        let piece = prop_oneof![
            3 => prop::collection::vec(byte, 0..6),
            3 => Just(b"line\r\n".to_vec()),
            1 => (996_usize..1000).prop_map(|length| vec![b'x'; length]),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    fn cut(content: &[u8], cuts: Vec<usize>) -> Vec<&[u8]> {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn cleanness_does_not_depend_on_the_cuts(
            content in contents(),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let mut cleanness = Cleanness::default();
            for piece in cut(&content, cuts) {
                cleanness.look(piece);
            }
            prop_assert_eq!(cleanness.is_clean(), clean(&content));
        }

        #[test]
        fn what_is_encoded_in_pieces_has_the_announced_size_and_is_the_file_again(
            content in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            for encoding in [Encoding::AsItIs, Encoding::Base64] {
                let (mut encoder, mut out) = (encoding.encoder(), Vec::new());
                for piece in cut(&content, cuts.clone()) {
                    encoder.push(piece, &mut out);
                }
                encoder.end(&mut out);
                prop_assert_eq!(out.len() as u64, encoding.size(content.len() as u64));
                if encoding == Encoding::AsItIs {
                    prop_assert_eq!(&out, &content);
                } else {
                    prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
                    out.retain(|byte| !byte.is_ascii_whitespace());
                    prop_assert_eq!(&STANDARD.decode(&out).unwrap(), &content);
                }
            }
        }
    }
}

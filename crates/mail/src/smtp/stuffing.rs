//! A message as it goes after DATA: CRLF line ends, dots doubled at the start of lines. Never writes the final dot.
//!
//! A bare CR or LF becomes CRLF before dots are looked at, so no server, however it reads line ends, can find an end
//! of data inside the message (RFC 5321 sections 2.3.8 and 4.5.2; "SMTP smuggling").

/// What ends the data once every line is complete (RFC 5321 section 4.1.1.4).
pub(crate) const FINAL_DOT: &[u8] = b".\r\n";

/// Turns pieces of a message, cut anywhere, into what goes on the wire.
#[derive(Debug)]
pub(crate) struct DotStuffer {
    at: At,
    eight_bit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first byte of a line.
    LineStart,
    /// Somewhere in a line.
    Inside,
    /// Behind a CR that was written as CRLF: an LF that follows belongs to it.
    AfterCr,
}

impl DotStuffer {
    pub(crate) fn new() -> Self {
        Self { at: At::LineStart, eight_bit: false }
    }

    /// Appends the wire form of `piece` to `out`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            match byte {
                b'\n' if self.at == At::AfterCr => self.at = At::LineStart,
                b'\n' => {
                    out.extend_from_slice(b"\r\n");
                    self.at = At::LineStart;
                }
                b'\r' => {
                    out.extend_from_slice(b"\r\n");
                    self.at = At::AfterCr;
                }
                _ => {
                    if byte == b'.' && self.at != At::Inside {
                        out.push(b'.');
                    }
                    self.eight_bit |= !byte.is_ascii();
                    out.push(byte);
                    self.at = At::Inside;
                }
            }
        }
    }

    /// Completes the last line, so that [`FINAL_DOT`] stands on its own.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        if self.at == At::Inside {
            out.extend_from_slice(b"\r\n");
        }
        self.at = At::LineStart;
    }

    /// Whether a byte above 127 came by.
    pub(crate) fn saw_eight_bit(&self) -> bool {
        self.eight_bit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn on_the_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stuffer = DotStuffer::new();
        let mut out = Vec::new();
        for piece in pieces {
            stuffer.push(piece, &mut out);
        }
        stuffer.end(&mut out);
        out.extend_from_slice(FINAL_DOT);
        out
    }

    #[test]
    fn dots_are_doubled_and_line_ends_made_whole() {
        let table: [(&[u8], &[u8]); 12] = [
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n.\r\nMAIL FROM:<x>", b"a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"),
            (b"a\n\r.b", b"a\r\n\r\n..b\r\n.\r\n"),
            (b"a\r\r\nb", b"a\r\n\r\nb\r\n.\r\n"),
            (b"a.b\r\n..", b"a.b\r\n...\r\n.\r\n"),
            (b"\r\n", b"\r\n.\r\n"),
        ];
        for (body, wire) in table {
            assert_eq!(on_the_wire(&[body]), wire, "{:?}", String::from_utf8_lossy(body));
        }
    }

    /// A reader of the data as RFC 5321 section 4.5.2 has servers do it; written for the test, apart from the code above.
    fn unstuff(wire: &[u8]) -> Option<Vec<u8>> {
        let text: Vec<u8> = wire.to_vec();
        let mut body = Vec::new();
        let mut rest = text.as_slice();
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
            let (line, after) = (&rest[..end], &rest[end + 2..]);
            if line.contains(&b'\n') || line.contains(&b'\r') {
                return None;
            }
            if line == b"." {
                return after.is_empty().then_some(body);
            }
            body.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            body.extend_from_slice(b"\r\n");
            rest = after;
        }
    }

    fn normalised(body: &[u8]) -> Vec<u8> {
        let text: String = body.iter().map(|byte| char::from(*byte)).collect();
        let mut text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        if !text.is_empty() && !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(b'.'), 3 => Just(b'\r'), 3 => Just(b'\n'), 2 => Just(b'a'), 1 => any::<u8>()];
        prop::collection::vec(byte, 0..80)
    }

    proptest! {
        #[test]
        fn a_server_reads_back_the_normalised_message(body in bodies()) {
            prop_assert_eq!(unstuff(&on_the_wire(&[&body])), Some(normalised(&body)));
        }

        #[test]
        fn how_the_message_was_cut_makes_no_difference(body in bodies(), cuts in prop::collection::vec(0usize..80, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(on_the_wire(&pieces), on_the_wire(&[&body]));
        }
    }
}

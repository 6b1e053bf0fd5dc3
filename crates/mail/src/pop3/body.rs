//! Taking a multi-line answer apart as its bytes come in: dots unstuffed, the final line left out, every other byte kept.
//!
//! Only CRLF ends a line. A bare LF before a lone dot must never end a message: a sender could write it into a mail
//! and so forge the server's next answers.

use bytes::{Buf as _, BytesMut};
use memchr::memmem;

/// Where in a multi-line answer the decoder is (RFC 1939 section 3).
#[derive(Debug, Default)]
pub(super) struct Unstuff {
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    InLine,
    /// After a CR, which may be half of a line end.
    AfterReturn,
}

impl Unstuff {
    /// Moves what can be understood from `input` to `output`; true when the end was reached, with what follows the
    /// answer left in `input`. When false, more input is needed; at most two bytes are left then.
    pub(super) fn decode(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> bool {
        let mut at = 0;
        let ended = loop {
            let rest = &input[at..];
            match (self.place, rest) {
                (_, []) | (Place::LineStart, [b'.'] | [b'.', b'\r']) => break false,
                (Place::LineStart, [b'.', b'\r', b'\n', ..]) => {
                    at += 3;
                    break true;
                }
                (Place::LineStart, [b'.', ..]) => {
                    at += 1;
                    self.place = Place::InLine;
                }
                (Place::AfterReturn, [b'\n', ..]) => {
                    output.extend_from_slice(b"\n");
                    at += 1;
                    self.place = Place::LineStart;
                }
                // Lines without a dot before them are taken together.
                _ => {
                    let run = memmem::find(rest, b"\r\n.").map_or(rest.len(), |line_end| line_end + 2);
                    output.extend_from_slice(&rest[..run]);
                    at += run;
                    self.place = match &rest[..run] {
                        [.., b'\r', b'\n'] => Place::LineStart,
                        [.., b'\r'] => Place::AfterReturn,
                        _ => Place::InLine,
                    };
                }
            }
        };
        input.advance(at);
        ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server does to a message: a dot before each line that begins with one, and the final line.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut line_start = true;
        for (at, byte) in message.iter().enumerate() {
            if line_start && *byte == b'.' {
                wire.push(b'.');
            }
            wire.push(*byte);
            line_start = at > 0 && message[at - 1] == b'\r' && *byte == b'\n';
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    fn decoded(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut decoder, mut input, mut output) = (Unstuff::default(), BytesMut::new(), BytesMut::new());
        let mut rest = wire;
        let mut ended = false;
        for cut in cuts.iter().copied().chain([wire.len()]) {
            let (chunk, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            input.extend_from_slice(chunk);
            if !ended {
                ended = decoder.decode(&mut input, &mut output);
                assert!(ended || input.len() <= 2);
            }
        }
        (output.to_vec(), input.to_vec(), ended)
    }

    #[test]
    fn known_answers() {
        for (wire, message) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"...\r\n.\r\n", b"..\r\n"),
            (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
            (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
            (b"a\n.\r\n\r\n.\r\n", b"a\n.\r\n\r\n"),
            (b"a\r.\r\n.\r\n", b"a\r.\r\n"),
            (b"a\r\r\n.\r\n", b"a\r\r\n"),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
            (b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n"),
        ] {
            assert_eq!(decoded(wire, &[]), (message.to_vec(), Vec::new(), true), "{wire:?}");
            assert_eq!(decoded(wire, &vec![1; wire.len()]), (message.to_vec(), Vec::new(), true), "{wire:?}");
        }
    }

    #[test]
    fn a_lone_dot_after_a_bare_line_feed_does_not_end_the_message() {
        let (message, rest, ended) = decoded(b"x\n.\r\n+OK forged\r\n.\r\nnext", &[]);
        assert_eq!(message, b"x\n.\r\n+OK forged\r\n");
        assert_eq!(rest, b"next");
        assert!(ended);
    }

    /// Bytes in which line ends and dots are frequent.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b".".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| {
            let mut message = pieces.concat();
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                message.extend_from_slice(b"\r\n");
            }
            message
        })
    }

    proptest! {
        #[test]
        fn any_message_comes_back_exactly_however_it_is_cut(
            message in message(),
            cuts in proptest::collection::vec(0_usize..9, 0..80),
            after in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut wire = stuffed(&message);
            wire.extend_from_slice(&after);
            prop_assert_eq!(decoded(&wire, &cuts), (message, after, true));
        }

        #[test]
        fn no_bytes_at_all_make_it_fail(wire in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (message, rest, ended) = decoded(&wire, &[]);
            prop_assert!(message.len() + rest.len() <= wire.len());
            prop_assert!(ended || rest.len() <= 2);
        }
    }
}

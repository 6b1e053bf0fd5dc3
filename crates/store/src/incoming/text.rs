//! Where the text of a message stands in its raw form word for word, so that it needs not be stored twice. Nothing is
//! believed of how a message is built: a place counts only after every byte there was compared with the text.

use memchr::{memchr, memmem};

/// How much of a text is searched for, at most, where it does not begin right after the header.
const BEGINNING: usize = 128;
/// In how many places that begin as the text does it is looked for: a repeated line may not make it a long search.
const PLACES: usize = 4;

/// The first byte and the length in bytes of what becomes the text when its CRLFs become LFs, as Postgres's `copy_text`
/// makes it. None when there is no such place, and none for an empty text.
pub(super) fn place(raw: &[u8], header: usize, text: &str) -> Option<(i32, i32)> {
    let text = text.as_bytes();
    // What is CRLF in the text as well would come back as LF.
    if text.is_empty() || memchr(b'\r', text).is_some() {
        return None;
    }
    let line = memchr(b'\n', text).unwrap_or(text.len()).min(BEGINNING);
    let body = raw.get(header..)?;
    let after_header = length(body, text).map(|length| (0, length));
    let (at, length) = after_header.or_else(|| {
        // An empty line is everywhere.
        let beginning = text.get(..line).filter(|line| !line.is_empty())?;
        memmem::find_iter(body, beginning)
            .take(PLACES)
            .find_map(|at| Some((at, length(body.get(at..)?, text)?)))
    })?;
    Some((i32::try_from(header + at).ok()?, i32::try_from(length).ok()?))
}

/// How many bytes at the beginning of `raw` are this text, but for its line ends.
fn length(raw: &[u8], text: &[u8]) -> Option<usize> {
    let (mut at, mut rest) = (0, text);
    loop {
        let line = memchr(b'\n', rest).unwrap_or(rest.len());
        if raw.get(at..at + line)? != &rest[..line] {
            return None;
        }
        at += line;
        if line == rest.len() {
            return Some(at);
        }
        at += match raw.get(at..)? {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return None,
        };
        rest = &rest[line + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `copy_text` makes of a place.
    fn text_at(raw: &[u8], place: (i32, i32)) -> String {
        let (at, length) = (usize::try_from(place.0).unwrap(), usize::try_from(place.1).unwrap());
        String::from_utf8(raw[at..at + length].to_vec()).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn a_text_that_stands_in_the_raw_message_is_found_and_comes_back_as_it_was() {
        for (header, body, text) in [
            ("A: b\r\n\r\n", "one\r\ntwo\r\n", "one\ntwo\n"),
            ("A: b\r\n\r\n", "one\r\ntwo", "one\ntwo"),
            ("A: b\n\n", "one\ntwo\r\nthree\n", "one\ntwo\nthree\n"),
            ("A: b\r\n\r\n", "\r\n\r\nafter empty lines\r\n", "\n\nafter empty lines\n"),
            ("A: b\r\n\r\n", "für alle\r\nGrüße", "für alle\nGrüße"),
            ("A: b\r\n\r\n", "\u{feff}behind a mark\r\n", "behind a mark\n"),
            ("A: b\r\n\r\n", "--x\r\nC: d\r\n\r\none\r\ntwo\r\n--x--\r\n", "one\ntwo"),
            ("A: b\r\n\r\n", "one\r\nthree\r\n--\r\none\r\ntwo\r\n", "one\ntwo\n"),
        ] {
            let raw = format!("{header}{body}");
            let place = place(raw.as_bytes(), header.len(), text).unwrap_or_else(|| panic!("{raw:?}"));
            assert_eq!(text_at(raw.as_bytes(), place), text, "{raw:?}");
        }
    }

    #[test]
    fn a_text_that_is_not_there_byte_for_byte_has_no_place() {
        for (body, text) in [
            ("=C3=BC\r\n", "ü\n"),
            ("one\rtwo\r\n", "one\ntwo\n"),
            ("one\r\r\ntwo", "one\n\ntwo"),
            ("one\r\ntwo\r\n", "one\r\ntwo\r\n"),
            ("one\r\n", "one\n\n"),
            ("one", "one\n"),
            ("\r\n", ""),
            ("", "one"),
            ("a\r\na\r\na\r\na\r\na\r\nb\r\n", "a\nb\n"),
        ] {
            let raw = format!("A: b\r\n\r\n{body}");
            assert_eq!(place(raw.as_bytes(), 8, text), None, "{raw:?}");
        }
        assert_eq!(place(b"short", 8, "one"), None, "the header is said to be longer than all");
    }
}

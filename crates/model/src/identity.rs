//! When two copies are one email: a digest of what the sender fixed, and nothing of what servers added on the way.
//!
//! A Message-ID is chosen by the sender and so proves nothing alone; the digest never rests on it alone.

mod body;
mod subject;
mod trace;

use sha2::{Digest as _, Sha256};

use crate::address::normalize;
use crate::message::ParsedMessage;
pub use body::BodyDigest;
pub use subject::subject_without_prefixes;
pub use trace::{is_trace_field, without_trace};

/// SHA-256 over what makes an email itself. Compare it within one organization and direction only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub [u8; 32]);

/// The identity of a received message, from what was read in it and from the raw message.
///
/// With a Message-ID: that, the addresses of From, Date to the second and the subject without prefixes. Without one:
/// every header field but trace fields, in order and unfolded, and the body with its line ends made equal.
pub fn identity(message: &ParsedMessage, raw: &[u8]) -> Identity {
    if let Some(id) = &message.message_id {
        return by_message_id(message, id);
    }
    let (header, body) = raw.split_at(header_size(raw));
    by_content(header, BodyDigest::of(body))
}

/// As [`identity`], of a message that is too large to be held: from its header, and the digest of all that follows it.
pub fn identity_of_parts(message: &ParsedMessage, header: &[u8], body: [u8; 32]) -> Identity {
    match &message.message_id {
        Some(id) => by_message_id(message, id),
        None => by_content(header, body),
    }
}

/// How many bytes of a raw message are its header, with the empty line that ends it; all where there is none.
pub fn header_size(raw: &[u8]) -> usize {
    let mut size = 0;
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        size += line.len();
        if without_line_end(line).is_empty() {
            break;
        }
    }
    size
}

/// A digest that cannot be fooled by moving a border: every part goes in behind its own length.
struct Parts(Sha256);

impl Parts {
    fn new(kind: &[u8]) -> Self {
        let mut parts = Self(Sha256::new());
        parts.add(kind);
        parts
    }

    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn finish(self) -> Identity {
        Identity(self.0.finalize().into())
    }
}

fn by_message_id(message: &ParsedMessage, id: &str) -> Identity {
    let mut parts = Parts::new(b"message-id 1");
    parts.add(id.as_bytes());
    parts.add(&(message.from.len() as u64).to_be_bytes());
    for party in &message.from {
        parts.add(normalize(&party.address).as_bytes());
    }
    match message.date {
        Some(date) => parts.add(&date.as_second().to_be_bytes()),
        None => parts.add(b""),
    }
    let subject = message.subject.as_deref().unwrap_or_default();
    let words: Vec<&str> = subject_without_prefixes(subject).split_whitespace().collect();
    parts.add(words.join(" ").as_bytes());
    parts.finish()
}

/// Header fields as RFC 6376 section 3.4.2 relaxes them; of the body its digest.
fn by_content(header: &[u8], body: [u8; 32]) -> Identity {
    let mut parts = Parts::new(b"content 1");
    let mut field: Vec<u8> = Vec::new();
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let line = without_line_end(line);
        if line.is_empty() {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            add_field(&mut parts, &field);
            field.clear();
        }
        field.extend_from_slice(line);
        field.push(b' ');
    }
    add_field(&mut parts, &field);
    parts.add(b"");
    parts.add(&body);
    parts.finish()
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn add_field(parts: &mut Parts, field: &[u8]) {
    let Some(colon) = field.iter().position(|byte| *byte == b':') else { return };
    let name = field[..colon].trim_ascii().to_ascii_lowercase();
    if is_trace_field(&name) {
        return;
    }
    let value: Vec<&[u8]> =
        field[colon + 1..].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    parts.add(&name);
    parts.add(&value.join(&b' '));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Party;

    fn message() -> ParsedMessage {
        ParsedMessage {
            message_id: Some("1@example.com".into()),
            from: vec![Party { name: Some("Ada".into()), address: "Ada@Example.com".into() }],
            date: Some(jiff::Timestamp::from_second(1_700_000_000).unwrap()),
            subject: Some("Re: Plan  for Monday".into()),
            ..ParsedMessage::default()
        }
    }

    fn of(change: impl FnOnce(&mut ParsedMessage)) -> Identity {
        let mut changed = message();
        change(&mut changed);
        identity(&changed, b"")
    }

    #[test]
    fn what_servers_and_readers_change_does_not_make_another_email() {
        let same = of(|_| {});
        assert_eq!(of(|m| m.subject = Some("Plan for Monday".into())), same);
        assert_eq!(of(|m| m.subject = Some("AW: Fwd: Plan for Monday".into())), same);
        assert_eq!(of(|m| m.from[0].name = None), same);
        assert_eq!(of(|m| m.from[0].address = "ada@EXAMPLE.com".into()), same);
        assert_eq!(of(|m| m.text = Some("another body".into())), same);
        assert_eq!(of(|m| m.to = m.from.clone()), same);
        assert_eq!(of(|m| m.received = m.date), same);
        assert_eq!(identity(&message(), b"Subject: raw bytes do not count\r\n\r\nx"), same);
    }

    #[test]
    fn any_of_the_four_that_differs_makes_another_email() {
        let same = of(|_| {});
        assert_ne!(of(|m| m.message_id = Some("2@example.com".into())), same);
        assert_ne!(of(|m| m.message_id = Some("1@EXAMPLE.com".into())), same);
        assert_ne!(of(|m| m.from[0].address = "mallory@example.com".into()), same);
        assert_ne!(of(|m| m.from.push(m.from[0].clone())), same);
        assert_ne!(of(|m| m.date = None), same);
        assert_ne!(of(|m| m.date = jiff::Timestamp::from_second(1_700_000_001).ok()), same);
        assert_ne!(of(|m| m.subject = Some("Re: Plan for Tuesday".into())), same);
        assert_ne!(of(|m| m.subject = None), same);
    }

    #[test]
    fn moving_text_from_one_part_to_the_next_makes_another_email() {
        let split = |id: &str, address: &str| {
            of(|m| {
                m.message_id = Some(id.into());
                m.from[0].address = address.into();
            })
        };
        assert_ne!(split("1@example.coma", "da@example.com"), split("1@example.com", "ada@example.com"));
    }

    fn content(raw: &str) -> Identity {
        identity(&ParsedMessage::default(), raw.as_bytes())
    }

    #[test]
    fn without_a_message_id_trace_fields_folding_and_line_ends_do_not_count() {
        let plain = content("From: a@example.com\r\nSubject: Hello world\r\n\r\nLine one\r\nLine two\r\n");
        for same in [
            "From: a@example.com\nSubject: Hello world\n\nLine one\nLine two\n",
            "From: a@example.com\r\nSubject: Hello\r\n world\r\n\r\nLine one\r\nLine two\r\n\r\n\r\n",
            "Received: from x by y; date\r\nReturn-Path: <a@example.com>\r\nFROM:a@example.com\r\n\
             subject : Hello world\r\n\r\nLine one\r\nLine two",
            "From: a@example.com\r\nARC-Seal: i=1;\r\n b=abc\r\nX-Spam-Status: No\r\nX-UIDL: 77\r\n\
             Subject: Hello world\r\n\r\nLine one\r\nLine two\r\n",
        ] {
            assert_eq!(content(same), plain, "{same}");
        }
    }

    #[test]
    fn without_a_message_id_another_header_or_body_is_another_email() {
        let plain = content("From: a@example.com\r\nSubject: Hello world\r\n\r\nLine one\r\n");
        for other in [
            "From: b@example.com\r\nSubject: Hello world\r\n\r\nLine one\r\n",
            "From: a@example.com\r\nSubject: Hello world\r\nTo: b@example.com\r\n\r\nLine one\r\n",
            "From: a@example.com\r\nSubject: Hello world\r\n\r\nLine one \r\n",
            "From: a@example.com\r\nSubject: Hello world\r\n\r\n",
            "From: a@example.com\r\nSubject: Hello world\r\n\r\nLine\r\n one\r\n",
            "From: a@example.com\r\nSubject: Hello world\r\n",
            "Subject: Hello world\r\nFrom: a@example.com\r\n\r\nLine one\r\n",
        ] {
            assert_ne!(content(other), plain, "{other}");
        }
    }

    #[test]
    fn a_message_in_parts_has_the_identity_of_the_whole() {
        let raw = b"From: a@example.com\r\nReceived: by x\r\n\r\nLine one\r\n\r\nLine two\r\n";
        let (header, body) = raw.split_at(header_size(raw));
        assert!(header.ends_with(b"by x\r\n\r\n"));
        for message in [ParsedMessage::default(), message()] {
            let parts = identity_of_parts(&message, header, BodyDigest::of(body));
            assert_eq!(parts, identity(&message, raw));
        }
        assert_eq!(header_size(b"From: a\nTo: b"), 13, "without an empty line all is header");
        assert_eq!(header_size(b"\r\nbody"), 2);
    }

    #[test]
    fn an_empty_message_has_an_identity_too() {
        assert_eq!(content(""), content("\r\n"));
        assert_ne!(content(""), of(|_| {}));
    }
}

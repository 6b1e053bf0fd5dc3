//! What an SMTP server answers: the reply code, the enhanced code and the server's words, read strictly and bounded.
//! Never believes a code it cannot classify, and never lets a control character or an endless reply through.

use std::fmt;

use crate::error::printable;

/// Longest line taken, without its line end. RFC 5321 section 4.5.3.1.5 allows 510; servers in the wild exceed it.
pub(crate) const MAX_LINE: usize = 2048;
/// Most lines of one reply; the longest honest one is an EHLO answer of some twenty lines.
const MAX_LINES: usize = 100;

/// A complete reply of the server (RFC 5321 section 4.2).
///
/// `Debug` leaves the text out: servers repeat addresses in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: String,
}

impl Reply {
    /// The three digits, 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code (RFC 2034, RFC 3463), when the server gave one that agrees with the code.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The server's own words on one line: no control characters, no codes, at most 500 characters. Hostile text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the first digit asks the client to do.
    pub fn class(&self) -> Class {
        match self.code / 100 {
            2 => Class::Done,
            3 => Class::GoOn,
            4 => Class::Temporary,
            _ => Class::Permanent,
        }
    }

    /// 421: the server is about to close the connection, whatever was asked (RFC 5321 section 3.8).
    pub fn closes(&self) -> bool {
        self.code == 421
    }

    /// Whether a recipient was turned away only because this message already has as many as the server takes at
    /// once: 452 4.5.3, and 552, which RFC 5321 section 4.5.3.1.10 has clients read the same unless it says that a
    /// mailbox is full.
    pub fn says_too_many_recipients(&self) -> bool {
        let names_it = self.enhanced.is_some_and(|code| code.subject == 5 && code.detail == 3);
        matches!(self.code, 452 | 552) && (names_it || (self.code == 552 && self.enhanced.is_none()))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some(enhanced) => write!(f, "Reply({} {enhanced})", self.code),
            None => write!(f, "Reply({})", self.code),
        }
    }
}

/// As a person reads it: code, enhanced code, words. For alerts, never for logs.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// What a reply code's first digit means (RFC 5321 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 2yz: it is done.
    Done,
    /// 3yz: the server waits for more.
    GoOn,
    /// 4yz: not now; the same again later may succeed.
    Temporary,
    /// 5yz: no; the same again will fail again.
    Permanent,
}

/// An enhanced status code, `class.subject.detail` (RFC 3463 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The detail, 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// Reads a code at the start of `text` and returns it with what follows.
    fn split(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = word.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        Some((
            Self { class, subject: up_to_three_digits(subject)?, detail: up_to_three_digits(detail)? },
            rest,
        ))
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn up_to_three_digits(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 3 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Why bytes are no SMTP reply. Nothing of them is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No three digits of a known class, or something else than a space or a hyphen after them.
    NoCode,
    /// The lines of one reply carry different codes (RFC 5321 section 4.2.1).
    CodesDiffer,
    /// A line or the whole is longer than any honest server sends.
    TooLong,
}

impl Malformed {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoCode => "its answer does not start with a reply code",
            Self::CodesDiffer => "one answer with two different codes",
            Self::TooLong => "its answer has no end",
        }
    }
}

/// Puts a reply together line by line, without any I/O.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    code: Option<u16>,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Takes the next line, without its line end. `Some` when it was the last of the reply: the reply and its lines,
    /// without codes, as EHLO needs them.
    pub(crate) fn push(&mut self, line: &[u8]) -> Result<Option<(Reply, Vec<String>)>, Malformed> {
        if line.len() > MAX_LINE || self.lines.len() == MAX_LINES {
            return Err(Malformed::TooLong);
        }
        let code = reply_code(line).ok_or(Malformed::NoCode)?;
        if *self.code.get_or_insert(code) != code {
            return Err(Malformed::CodesDiffer);
        }
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(Malformed::NoCode),
        };
        self.lines.push(printable(line.get(4..).unwrap_or_default()));
        if !last {
            return Ok(None);
        }
        let lines = std::mem::take(self).lines;
        Ok(Some((Reply::new(code, &lines), lines)))
    }
}

impl Reply {
    fn new(code: u16, lines: &[String]) -> Self {
        let class = u8::try_from(code / 100).unwrap_or(0);
        let mut enhanced = None;
        let mut text = String::new();
        for line in lines {
            let mut words = line.trim();
            // RFC 2034 section 4: the code stands on every line, and always agrees with the reply code's class.
            if let Some((found, rest)) = EnhancedCode::split(words).filter(|(found, _)| found.class == class)
            {
                enhanced.get_or_insert(found);
                words = rest.trim();
            }
            if !words.is_empty() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(words);
            }
        }
        Self { code, enhanced, text: printable(text.as_bytes()) }
    }

    /// A reply as a server would give it, for tables of tests.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Malformed> {
        let mut reader = ReplyReader::default();
        for line in text.split("\r\n") {
            if let Some((reply, _)) = reader.push(line.as_bytes())? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

/// The grammar of RFC 5321 section 4.2: `[2-5][0-5][0-9]`. 1yz is never used in SMTP.
fn reply_code(line: &[u8]) -> Option<u16> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9', ..] = line else { return None };
    Some([a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(*digit - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(text: &str) -> Reply {
        Reply::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_reply_is_read_with_its_enhanced_code_and_words() {
        let one = reply("550 5.1.1 <nobody@example.org>: no such user");
        assert_eq!(
            (one.code(), one.class(), one.text()),
            (550, Class::Permanent, "<nobody@example.org>: no such user")
        );
        assert_eq!(one.enhanced(), Some(EnhancedCode { class: 5, subject: 1, detail: 1 }));
        assert_eq!(one.to_string(), "550 5.1.1 <nobody@example.org>: no such user");
        assert_eq!(format!("{one:?}"), "Reply(550 5.1.1)");

        let many = reply("451-4.7.1 Try again\r\n451-4.7.1 in five\r\n451 4.7.1 minutes");
        assert_eq!((many.class(), many.text()), (Class::Temporary, "Try again in five minutes"));
        assert_eq!(reply("250").text(), "");
        assert_eq!(reply("250 ").text(), "");
        assert_eq!(reply("250-\r\n250 ok").text(), "ok");
    }

    #[test]
    fn an_enhanced_code_that_contradicts_the_code_is_only_text() {
        for text in [
            "550 4.1.1 x",
            "550 5.1 x",
            "550 5.1.1.1 x",
            "550 5.1000.1 x",
            "550 5.a.1 x",
            "250 5.0.0 x",
            "550 9.1.1 x",
        ] {
            let reply = reply(text);
            assert_eq!(reply.enhanced(), None, "{text}");
            assert_eq!(reply.text(), &text[4..]);
        }
        assert_eq!(reply("550 5.7.509 x").enhanced().unwrap().detail, 509);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let table = [
            ("", Malformed::NoCode),
            ("25", Malformed::NoCode),
            ("HTTP/1.1 400 Bad Request", Malformed::NoCode),
            ("+OK POP3 ready", Malformed::NoCode),
            ("150 mark", Malformed::NoCode),
            ("650 x", Malformed::NoCode),
            ("270 x", Malformed::NoCode),
            ("250x", Malformed::NoCode),
            ("2500", Malformed::NoCode),
            ("250-a\r\n251 b", Malformed::CodesDiffer),
            ("250-a\r\nb", Malformed::NoCode),
        ];
        for (text, why) in table {
            assert_eq!(Reply::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn an_endless_reply_ends() {
        let lines = "250-more\r\n".repeat(MAX_LINES + 1);
        assert_eq!(Reply::parse(&lines), Err(Malformed::TooLong));
        let line = format!("250 {}", "x".repeat(MAX_LINE));
        assert_eq!(Reply::parse(&line), Err(Malformed::TooLong));
        let long = reply(&format!("250 {}", "ä".repeat(900)));
        assert_eq!(long.text().chars().count(), 500);
    }

    #[test]
    fn too_many_recipients_is_told_from_a_full_mailbox() {
        for yes in ["452 4.5.3 Too many recipients", "552 5.5.3 too many", "552 too many recipients"] {
            assert!(reply(yes).says_too_many_recipients(), "{yes}");
        }
        for no in ["552 5.2.2 over quota", "452 4.3.1 no space", "452 later", "550 5.5.3 x", "250 2.5.3 ok"] {
            assert!(!reply(no).says_too_many_recipients(), "{no}");
        }
    }

    #[test]
    fn the_words_carry_no_control_or_direction_characters() {
        let reply = reply("550 a\u{1b}[31mb\u{202e}c\u{0}d\te");
        assert_eq!(reply.text(), "a [31mbc d e");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut reader = ReplyReader::default();
            for line in &lines {
                if let Ok(Some((reply, _))) = reader.push(line) {
                    prop_assert!((200..600).contains(&reply.code()));
                    prop_assert!(reply.text().chars().all(|c| !c.is_control()));
                }
            }
        }
    }
}

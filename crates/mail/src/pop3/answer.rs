//! The first line of every answer: `+OK` or `-ERR`, with the response codes of RFC 2449 section 8 and RFC 3206.

use bytes::Bytes;

use crate::error::{Error, Kind, Phase};
use crate::transport::Connection;

/// What the server says to a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `+OK`, and the text after it.
    Good(Bytes),
    /// `-ERR`.
    Bad(Refusal),
}

/// A `-ERR`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The response code, if it is one that means something here.
    pub(super) code: Option<Code>,
    /// Everything after `-ERR`.
    pub(super) text: Bytes,
}

/// The response codes that say whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// Another session has the maildrop (RFC 2449 section 8.1.2).
    InUse,
    /// Signed in too often (RFC 2449 section 8.1.1).
    LoginDelay,
    /// The server's trouble, which passes (RFC 3206 section 4).
    SystemTemporary,
    /// The server's trouble, which a person must end (RFC 3206 section 4).
    SystemPermanent,
    /// The user's credentials (RFC 3206 section 5).
    Auth,
}

impl Answer {
    /// Reads a status line; `None` when it is none. Upper and lower case are alike.
    pub(super) fn parse(line: &Bytes) -> Option<Self> {
        let word = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let text = line.slice((word + 1).min(line.len())..);
        if line[..word].eq_ignore_ascii_case(b"+OK") {
            Some(Self::Good(text))
        } else if line[..word].eq_ignore_ascii_case(b"-ERR") {
            Some(Self::Bad(Refusal { code: code(&text), text }))
        } else {
            None
        }
    }
}

impl Refusal {
    /// This refusal as an error of the connection: by its code, else of the kind given.
    pub(super) fn error(&self, connection: &Connection, otherwise: Kind) -> Error {
        let meant = self.code.and_then(|code| meaning(code, connection.phase()));
        let error = connection.error(meant.unwrap_or(otherwise)).with_said(&self.text);
        match self.code {
            Some(Code::SystemTemporary | Code::SystemPermanent) => error.with_system(),
            _ => error,
        }
    }
}

/// What a code means in this phase. What speaks of a user or of credentials means nothing before one was named, and
/// credentials that were taken are not refused by what follows.
fn meaning(code: Code, phase: Phase) -> Option<Kind> {
    let of_a_user = matches!(phase, Phase::SignIn | Phase::List);
    match code {
        Code::SystemTemporary => Some(Kind::TemporarilyRefused),
        Code::SystemPermanent => Some(Kind::PermanentlyRefused),
        Code::InUse => of_a_user.then_some(Kind::Locked),
        Code::LoginDelay => of_a_user.then_some(Kind::LoginDelay),
        Code::Auth => (phase == Phase::SignIn).then_some(Kind::CredentialsRefused),
    }
}

/// The code in brackets at the start of the text. Codes are hierarchical by `/`: an unknown detail keeps its meaning.
fn code(text: &[u8]) -> Option<Code> {
    let inner = text.trim_ascii_start().strip_prefix(b"[")?;
    let end = inner.iter().position(|byte| *byte == b']')?;
    let name = inner[..end].trim_ascii().to_ascii_uppercase();
    let is = |known: &[u8]| name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    if is(b"IN-USE") {
        Some(Code::InUse)
    } else if is(b"LOGIN-DELAY") {
        Some(Code::LoginDelay)
    } else if is(b"SYS/PERM") {
        Some(Code::SystemPermanent)
    } else if is(b"SYS") {
        Some(Code::SystemTemporary)
    } else if is(b"AUTH") {
        Some(Code::Auth)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_as_generously_as_is_safe() {
        let good = |line: &'static [u8]| match Answer::parse(&Bytes::from_static(line)) {
            Some(Answer::Good(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(good(b"+OK"), "");
        assert_eq!(good(b"+ok 2 320"), "2 320");
        assert_eq!(good(b"+OK\t2 320"), "2 320");
        assert_eq!(good(b"+OK "), "");
        for none in [&b""[..], b"OK", b"+OKAY", b"+ ", b"220 ready", b"* OK", b"\x16\x03\x01"] {
            assert_eq!(Answer::parse(&Bytes::from_static(none)), None, "{none:?}");
        }
    }

    #[test]
    fn a_code_means_something_only_where_it_can() {
        use Phase::{Capabilities, Delete, Fetch, Greeting, List, Quit, SignIn, StartTls};
        let everywhere = [Greeting, Capabilities, StartTls, SignIn, List, Fetch, Delete, Quit];
        for (code, kind, phases) in [
            (Code::SystemTemporary, Kind::TemporarilyRefused, &everywhere[..]),
            (Code::SystemPermanent, Kind::PermanentlyRefused, &everywhere[..]),
            (Code::InUse, Kind::Locked, &[SignIn, List]),
            (Code::LoginDelay, Kind::LoginDelay, &[SignIn, List]),
            (Code::Auth, Kind::CredentialsRefused, &[SignIn]),
        ] {
            for phase in everywhere {
                let expected = phases.contains(&phase).then(|| kind.clone());
                assert_eq!(meaning(code, phase), expected, "{code:?} at {phase}");
            }
        }
    }

    #[test]
    fn response_codes_are_told_apart_and_unknown_ones_mean_nothing() {
        for (text, expected) in [
            ("-ERR [IN-USE] Do you have another POP session running?", Some(Code::InUse)),
            ("-ERR [login-delay] minimum time between mail checks", Some(Code::LoginDelay)),
            ("-ERR [SYS/TEMP] try later", Some(Code::SystemTemporary)),
            ("-ERR [SYS/PERM] ask", Some(Code::SystemPermanent)),
            ("-ERR [SYS/NEW] ?", Some(Code::SystemTemporary)),
            ("-err [AUTH] no", Some(Code::Auth)),
            ("-ERR  [AUTH]", Some(Code::Auth)),
            ("-ERR [AUTHOR] no", None),
            ("-ERR [AUTH no", None),
            ("-ERR no [AUTH]", None),
            ("-ERR", None),
        ] {
            match Answer::parse(&Bytes::from_static(text.as_bytes())) {
                Some(Answer::Bad(refusal)) => assert_eq!(refusal.code, expected, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}

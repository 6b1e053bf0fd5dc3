//! The listing of a maildrop: LIST and UIDL read together, line by line, and merged.
//!
//! UIDL decides what is there, for a message that is not named cannot be told from others; LIST only adds sizes.

use std::fmt::Write as _;

use super::answer::Answer;
use super::{Listed, Session, talk};
use crate::error::{Error, Kind, Phase};

/// The longest unique id that is accepted. RFC 1939 allows 70 characters.
const LONGEST_UID: usize = 255;
/// What the lines of a listing may have on average: a number of 9 digits, a space and a unique id of 70 characters.
const USUAL_LINE: usize = 80;

impl Session {
    /// Every message of the maildrop, by number. Both commands travel together where pipelining is announced.
    ///
    /// A server without UIDL is [`Kind::Unsupported`]; more than [`max_entries`](super::Limits::max_entries)
    /// messages are [`Kind::TooLarge`], which ends the session.
    #[tracing::instrument(name = "pop3.list", skip_all)]
    pub async fn list(&mut self) -> Result<Vec<Listed>, Error> {
        self.settle().await?;
        self.connection.begin(Phase::List);
        let together = self.capabilities.pipelining;
        self.say(if together { b"LIST\r\nUIDL\r\n" } else { b"LIST\r\n" }).await?;
        if let Answer::Bad(refusal) = self.answer().await? {
            let error = refusal.error(&self.connection, Kind::TemporarilyRefused);
            // The answer to UIDL is still to come, and there is nothing to gain from it.
            return if together { Err(self.lost_by(error)) } else { Err(error) };
        }
        let sizes = self.entries(size_of, "its answer to LIST is malformed").await?;
        if !together {
            self.connection.begin(Phase::List);
            self.say(b"UIDL\r\n").await?;
        }
        let answer = self.answer().await;
        let answer = answer.map_err(|error| if together { error.with_sent_ahead() } else { error })?;
        if let Answer::Bad(refusal) = answer {
            let offered = self.capabilities.uidl;
            let kind = if offered { Kind::TemporarilyRefused } else { Kind::Unsupported("UIDL") };
            return Err(refusal.error(&self.connection, kind));
        }
        let uids = self.entries(uid_of, "its answer to UIDL is malformed").await?;
        self.listed_all = false;
        let counted = sizes.len();
        match merged(sizes, uids) {
            Some(listed) => {
                self.listed_all = listed.len() >= counted;
                Ok(listed)
            }
            None => self.lose(Kind::Violation("its answer to UIDL names a message twice")),
        }
    }

    async fn entries<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Option<T>,
        malformed: &'static str,
    ) -> Result<Vec<T>, Error> {
        let mut entries = Vec::new();
        let mut room = self.limits.max_entries.saturating_mul(USUAL_LINE);
        self.lost = Some(Kind::Closed);
        loop {
            let line = talk::listed_line(&mut self.connection).await.map_err(|error| self.lost_by(error))?;
            let Some(line) = line else { break };
            if entries.len() == self.limits.max_entries || line.len() > room {
                return self.lose(Kind::TooLarge("the listing"));
            }
            room -= line.len();
            match read(&line) {
                Some(entry) => entries.push(entry),
                None => return self.lose(Kind::Violation(malformed)),
            }
        }
        self.lost = None;
        Ok(entries)
    }
}

/// A number, and another after it if there is one that can be read. What follows is passed over, as RFC 1939 allows.
pub(super) fn numbers(text: &[u8]) -> Option<(u64, Option<u64>)> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u64>().ok();
    Some((number(words.next()?)?, words.next().and_then(number)))
}

/// `number size`. A size that is missing or nonsense is 0; a number that is nonsense is an error.
fn size_of(line: &[u8]) -> Option<(u32, u64)> {
    let (number, size) = numbers(line)?;
    Some((message_number(number)?, size.unwrap_or(0)))
}

/// `number uid`. The whole rest of the line is the id, so that ids with spaces in them stay apart; bytes outside
/// printable ASCII are written as `\xNN`.
fn uid_of(line: &[u8]) -> Option<(u32, String)> {
    let line = line.trim_ascii();
    let space = line.iter().position(u8::is_ascii_whitespace)?;
    let (number, _) = numbers(&line[..space])?;
    let uid = line[space..].trim_ascii();
    if uid.is_empty() || uid.len() > LONGEST_UID {
        return None;
    }
    let mut text = String::with_capacity(uid.len());
    for byte in uid {
        match byte {
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    Some((message_number(number)?, text))
}

fn message_number(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// One entry for each UIDL entry, by number; `None` when a number comes twice.
fn merged(mut sizes: Vec<(u32, u64)>, mut uids: Vec<(u32, String)>) -> Option<Vec<Listed>> {
    sizes.sort_by_key(|(number, _)| *number);
    uids.sort_by_key(|(number, _)| *number);
    if uids.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let mut sizes = sizes.into_iter().peekable();
    let listed = uids.into_iter().map(|(number, uid)| {
        while sizes.next_if(|(other, _)| *other < number).is_some() {}
        let size = sizes.next_if(|(other, _)| *other == number).map_or(0, |(_, size)| size);
        Listed { number, size, uid }
    });
    Some(listed.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_from_awkward_lines() {
        for (line, expected) in [
            ("1 120", Some((1, 120))),
            ("  1   120  ", Some((1, 120))),
            ("1\t120", Some((1, 120))),
            ("1 120 extra text", Some((1, 120))),
            ("1 18446744073709551615", Some((1, u64::MAX))),
            ("1 18446744073709551616", Some((1, 0))),
            ("1 -5", Some((1, 0))),
            ("1 many", Some((1, 0))),
            ("1", Some((1, 0))),
            ("4294967295 1", Some((u32::MAX, 1))),
            ("4294967296 1", None),
            ("0 1", None),
            ("-1 1", None),
            ("one 1", None),
            ("", None),
        ] {
            assert_eq!(size_of(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn uids_are_read_from_awkward_lines() {
        for (line, expected) in [
            (&b"1 whqtswO00WBw418f9t5JxYwZ"[..], Some((1, "whqtswO00WBw418f9t5JxYwZ"))),
            (b"2   a b  ", Some((2, "a b"))),
            (b"2 \xff~", Some((2, "\\xff~"))),
            (b"3", None),
            (b"3 ", None),
            (b"3abc", None),
            (b"abc", None),
            (b"0 a", None),
            (b"99999999999 a", None),
            (b"", None),
        ] {
            let expected = expected.map(|(number, uid)| (number, uid.to_owned()));
            assert_eq!(uid_of(line), expected, "{line:?}");
        }
        assert_eq!(uid_of(format!("1 {}", "x".repeat(LONGEST_UID + 1)).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_line_at_all_makes_it_fail(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = size_of(&line);
            if let Some((number, uid)) = uid_of(&line) {
                prop_assert!(number > 0 && !uid.is_empty() && uid.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }

    #[test]
    fn stat_needs_a_count() {
        assert_eq!(numbers(b"2 320"), Some((2, Some(320))));
        assert_eq!(numbers(b"2"), Some((2, None)));
        assert_eq!(numbers(b"two messages"), None);
    }

    #[test]
    fn uidl_decides_and_list_adds_sizes() {
        let uid = |number, uid: &str| (number, uid.to_owned());
        let listed = |number, size, uid: &str| Listed { number, size, uid: uid.to_owned() };
        assert_eq!(
            merged(vec![(3, 30), (1, 10), (9, 90)], vec![uid(1, "a"), uid(2, "a"), uid(3, "c")]),
            Some(vec![listed(1, 10, "a"), listed(2, 0, "a"), listed(3, 30, "c")])
        );
        assert_eq!(merged(vec![], vec![uid(1, "a"), uid(1, "b")]), None);
        assert_eq!(merged(vec![(1, 1)], vec![]), Some(vec![]));
    }
}

//! The mail of a small trading company over the last months, made up from a seed: the same messages every time, dated
//! relative to now. It says of each message what a faithful reader finds in it, and never asks Lockstep's own code.

mod cast;
mod chance;
mod files;
mod kinds;
mod letters;
mod texts;
mod writing;

use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};

use cast::DOMAIN;
pub(super) use cast::{ORGANIZATION, PEOPLE};
use chance::Chance;
use writing::Script;

/// Conversations with people outside; each is one to three messages.
const CONVERSATIONS: usize = 210;
/// How far back they begin, in days.
const DAYS: i64 = 120;

/// Everything that lies in the mailboxes before Lockstep looks.
pub(super) struct Corpus {
    /// The messages, the oldest first.
    pub(super) samples: Vec<Sample>,
}

/// One email, in one mailbox or several.
pub(super) struct Sample {
    /// Its Message-ID without angle brackets, unless it lacks one.
    pub(super) message_id: Option<String>,
    /// The subject in clear, unless there is none to read.
    pub(super) subject: Option<String>,
    /// The Message-ID that it answers.
    pub(super) answers: Option<String>,
    /// The first line of its text in clear, where that is for checking.
    pub(super) phrase: Option<String>,
    /// The charset that it was written in.
    pub(super) charset: &'static str,
    /// How many files it carries.
    pub(super) attachments: usize,
    /// It is no message at all.
    pub(super) unparsable: bool,
    /// When it was sent.
    pub(super) sent_at: Timestamp,
    /// The places among [`PEOPLE`] of the mailboxes that hold it; one that got it twice stands twice.
    pub(super) mailboxes: Vec<usize>,
    return_path: String,
    raw: Vec<u8>,
}

impl Corpus {
    /// The corpus that a seed names, dated before `now`.
    pub(super) fn new(seed: u64, now: Timestamp) -> Self {
        let mut chance = Chance::new(seed);
        let mut samples = Vec::new();
        for number in 0..CONVERSATIONS {
            letters::conversation(&mut chance, number, now, &mut samples);
        }
        kinds::all(&mut chance, now, &mut samples);
        samples.sort_by_key(|sample| sample.sent_at);
        Self { samples }
    }

    /// How many messages lie in the mailbox at this place.
    pub(super) fn messages_of(&self, mailbox: usize) -> usize {
        self.samples.iter().flat_map(|sample| &sample.mailboxes).filter(|at| **at == mailbox).count()
    }

    /// A moment before the oldest message.
    pub(super) fn floor(&self) -> Timestamp {
        let oldest = self.samples.first().map_or(Timestamp::UNIX_EPOCH, |sample| sample.sent_at);
        oldest.checked_sub(Span::new().hours(24)).unwrap_or(oldest)
    }

    /// The organization's domain.
    pub(super) const fn domain() -> &'static str {
        DOMAIN
    }

    /// The charsets that are used, each once.
    pub(super) fn charsets(&self) -> Vec<&'static str> {
        let mut charsets: Vec<_> = self.samples.iter().map(|sample| sample.charset).collect();
        charsets.sort_unstable();
        charsets.dedup();
        charsets
    }
}

impl Sample {
    /// The bytes as the server of the mailbox at this place holds them, with the fields that servers add.
    pub(super) fn delivered_to(&self, mailbox: usize) -> Vec<u8> {
        if self.unparsable {
            return self.raw.clone();
        }
        let address = PEOPLE[mailbox].address();
        let host = self.return_path.rsplit_once('@').map_or(DOMAIN, |(_, domain)| domain);
        let received = written(later(self.sent_at, 4), 0);
        let trace = format!(
            "Return-Path: <{}>\r\nDelivered-To: {address}\r\n\
             Received: from mail.{host} (mail.{host} [192.0.2.25])\r\n\tby mx.{DOMAIN} with ESMTPS\r\n\t\
             for <{address}>; {received}\r\n",
            self.return_path
        );
        [trace.as_bytes(), &self.raw].concat()
    }
}

/// What the letter of the demo carries: a name and a PDF.
pub(super) fn offer() -> (String, Vec<u8>) {
    let lines = ["Offer 2026-117", "12 x Thermo H12", "EUR 48200.00", "Delivery within four weeks"];
    ("Offer 2026-117.pdf".to_owned(), files::pdf(&lines.map(str::to_owned)))
}

/// A message in the making.
struct Message {
    script: Script,
    from: (String, String),
    to: Vec<usize>,
    cc: Vec<usize>,
    date: Timestamp,
    hours_east: i8,
    id: Option<String>,
    references: Vec<String>,
    subject: String,
    /// More header fields, each with its line end.
    extra: String,
}

impl Message {
    /// Puts it together with its body.
    fn sample(self, part: &[u8], phrase: Option<String>, attachments: usize) -> Sample {
        let script = self.script;
        let people = |places: &[usize]| {
            let one = |place: &usize| script.address(PEOPLE[*place].name, &PEOPLE[*place].address());
            places.iter().map(one).collect::<Vec<_>>().join(",\r\n ")
        };
        let to = if self.to.is_empty() { "undisclosed-recipients:;".to_owned() } else { people(&self.to) };
        let mut fields = vec![
            format!("From: {}", script.address(&self.from.0, &self.from.1)),
            format!("To: {to}"),
            format!("Subject: {}", script.words(&self.subject)),
            format!("Date: {}", written(self.date, self.hours_east)),
        ];
        if !self.cc.is_empty() {
            fields.push(format!("Cc: {}", people(&self.cc)));
        }
        if let Some(id) = &self.id {
            fields.push(format!("Message-ID: <{id}>"));
        }
        if let Some(last) = self.references.last() {
            let all: Vec<_> = self.references.iter().map(|id| format!("<{id}>")).collect();
            fields.push(format!("In-Reply-To: <{last}>"));
            fields.push(format!("References: {}", all.join("\r\n ")));
        }
        let head = format!("{}\r\n{}MIME-Version: 1.0\r\n", fields.join("\r\n"), self.extra);
        Sample {
            message_id: self.id,
            subject: Some(self.subject),
            answers: self.references.last().cloned(),
            phrase,
            charset: script.charset,
            attachments,
            unparsable: false,
            sent_at: self.date,
            mailboxes: self.to.into_iter().chain(self.cc).collect(),
            return_path: self.from.1,
            raw: [head.as_bytes(), part].concat(),
        }
    }
}

/// A date as RFC 5322 section 3.3 wants it.
fn written(at: Timestamp, hours_east: i8) -> String {
    let zone = TimeZone::fixed(Offset::constant(hours_east));
    at.to_zoned(zone).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(Span::new().seconds(seconds)).unwrap_or(at)
}

/// Some time in office hours, at least this many days before now.
fn office_hour(chance: &mut Chance, now: Timestamp, at_least_days: i64) -> Timestamp {
    let day = 86_400;
    let midnight =
        now.as_second() - now.as_second().rem_euclid(day) - chance.between(at_least_days, DAYS) * day;
    // The epoch began on a Thursday: what falls on a weekend moves to the Thursday or Friday before.
    let weekend = if (midnight / day + 4) % 7 % 6 == 0 { 2 } else { 0 };
    let second = midnight - weekend * day + chance.between(7 * 3600, 18 * 3600);
    Timestamp::from_second(second).unwrap_or(now)
}

/// A Message-ID in the style of the program that this domain's people use.
fn message_id(chance: &mut Chance, domain: &str) -> String {
    let (left, right) = (chance.next(), chance.next());
    match domain.len() % 3 {
        0 => format!("{left:016x}.{right:08x}@{domain}"),
        1 => format!(
            "{:08X}-{:04X}-{:04X}-{:012X}@{domain}",
            left >> 32,
            left >> 16 & 0xffff,
            left & 0xffff,
            right >> 16
        ),
        _ => format!("CA+{left:x}_{right:x}@mail.{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }

    #[test]
    fn a_seed_names_one_corpus() {
        let all = |seed| {
            let corpus = Corpus::new(seed, now());
            corpus.samples.iter().map(|sample| sample.delivered_to(0)).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn message_ids_are_unique_and_every_message_is_past_and_somewhere() {
        let corpus = Corpus::new(7, now());
        let mut ids: Vec<_> = corpus.samples.iter().filter_map(|sample| sample.message_id.as_ref()).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for sample in &corpus.samples {
            assert!(sample.sent_at < now() && sample.sent_at > corpus.floor(), "{:?}", sample.subject);
            assert!(!sample.mailboxes.is_empty());
        }
        assert!((0..PEOPLE.len()).all(|mailbox| corpus.messages_of(mailbox) > 40));
    }

    #[test]
    fn what_goes_over_the_wire_are_lines_of_at_most_998_bytes() {
        for sample in Corpus::new(7, now()).samples {
            let raw = sample.delivered_to(sample.mailboxes[0]);
            for line in raw.split_inclusive(|byte| *byte == b'\n') {
                assert!(line.len() <= 1000 && line.ends_with(b"\r\n"), "{:?}", sample.subject);
            }
        }
    }
}

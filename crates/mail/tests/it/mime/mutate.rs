//! Messages broken at random, and what holds for every message however broken. Shared with `examples/fuzz.rs`, which runs
//! as many cases as one likes; a case is its number, so one that fails can be run again alone.

use std::path::Path;

use model::automatic::automatic;
use model::identity::identity;
use model::message::{ParsedMessage, Party};
use model::report::report;

use crate::numbers::Numbers;

/// The longest message a case makes, in bytes.
const BYTES: usize = 64 * 1024;

/// What is put into messages: the words that parsers stumble over.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"--",
    b"--b",
    b"--b--",
    b"\r\n--b\r\n",
    b"=?utf-8?Q?",
    b"=?utf-8?B?",
    b"?=",
    b"=",
    b"=E9",
    b"=\r\n",
    b"\"",
    b"<",
    b">",
    b"@",
    b":",
    b";",
    b",",
    b"(",
    b")",
    b"\\",
    b"*0*=",
    b"*=utf-8''%",
    b"\xff",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\x1b$B",
    b"\x0e",
    b"Content-Type: multipart/mixed; boundary=b\r\n",
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n",
    b"Content-Type: message/delivery-status\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Type: text/html; charset=utf-7\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"charset=",
    b"boundary=",
    b"format=flowed; delsp=yes",
    b"Final-Recipient: rfc822; a@b.example\r\n",
    b"Action: failed\r\n",
    b"Status: 5.1.1\r\n",
    b"Return-Path: <>\r\n",
    b"Subject: failure notice\r\n",
    b"Message-ID: <",
    b"Date: ",
    b"Tue, 14 Nov 2023 22:13:20 +0000",
    b"> ",
    b"<table>",
    b"<!--",
    b"&#x",
    b"utf-16",
    b"iso-2022-jp",
    b"iso-2022-kr",
    b"gb18030",
    b"klingon",
    b"begin 644 x\r\n",
];

/// The messages that cases begin with: the corpus and the reports.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut paths: Vec<_> = ["corpus", "reports"]
        .iter()
        .flat_map(|name| std::fs::read_dir(tests.join(name)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The message of a case.
pub(crate) fn case(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number);
    let mut raw = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(12) {
        let at = numbers.below(raw.len() + 1);
        let to = (at + numbers.below(40)).min(raw.len());
        match numbers.below(9) {
            0 => drop(raw.splice(at..to, [])),
            1 => raw.truncate(at),
            2 => {
                if let Some(byte) = raw.get_mut(at) {
                    *byte ^= 1 << numbers.below(8);
                }
            }
            3 => {
                let again = raw[at..to].repeat(1 + numbers.below(30));
                drop(raw.splice(at..at, again));
            }
            4 => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len() + 1);
                let until = (from + numbers.below(600)).min(other.len());
                drop(raw.splice(at..to, other[from..until].iter().copied()));
            }
            5 => {
                let word = WORDS[numbers.below(WORDS.len())].repeat(1 + numbers.below(200));
                drop(raw.splice(at..at, word));
            }
            _ => drop(raw.splice(at..to, WORDS[numbers.below(WORDS.len())].iter().copied())),
        }
        raw.truncate(BYTES);
    }
    raw
}

/// What holds for the bytes of every message: it becomes something that can be stored, bounded by what came in, and the
/// same each time.
pub(crate) fn hold(raw: &[u8]) {
    let limits = mail::mime::Limits::default();
    let message = mail::mime::parse(raw, &limits);
    assert_storable(&message);
    assert_eq!(mail::mime::parse(raw, &limits), message, "parsing again gives the same");
    assert!(message.attachments.len() <= limits.parts);
    let kept: usize = message.attachments.iter().map(|attachment| attachment.bytes.len()).sum();
    assert!(kept <= raw.len(), "no file comes out twice: {kept} of {}", raw.len());
    for text in message.text.iter().chain(&message.html) {
        assert!(text.len() <= 8 * raw.len() + 1024, "{} characters of {} bytes", text.len(), raw.len());
    }
    assert_eq!(identity(&message, raw), identity(&message, raw));
    let found = report(&message);
    assert_eq!(report(&message), found);
    for recipient in found.iter().flat_map(|report| &report.recipients) {
        let said = recipient.said.as_deref().unwrap_or_default();
        assert!(said.len() <= 500 && !said.contains(char::is_control) && recipient.address.len() <= 320);
    }
    assert!(found.is_none() || automatic(&message).is_some());
}

/// No NUL and no surprise in any text, nothing longer than its bound.
pub(crate) fn assert_storable(message: &ParsedMessage) {
    let limits = mail::mime::Limits::default();
    let parties = [&message.from, &message.reply_to, &message.to, &message.cc, &message.bcc];
    let parties: Vec<&Party> = parties.into_iter().flatten().chain(&message.sender).collect();
    assert!(parties.len() <= limits.parties);
    let mut lines: Vec<&str> = Vec::new();
    for party in parties {
        // A space stands within a quoted local part and nowhere else.
        let outside = match party.address.strip_prefix('"').and_then(|rest| rest.rsplit_once("\"@")) {
            Some((local, domain)) => local.replace(' ', "") + domain,
            None => party.address.clone(),
        };
        assert!(!party.address.is_empty() && !outside.contains(char::is_whitespace), "{:?}", party.address);
        lines.push(&party.address);
        lines.extend(party.name.as_deref());
    }
    for attachment in &message.attachments {
        assert!(!attachment.name.is_empty() && attachment.name.len() <= 255);
        assert!(!attachment.name.contains(['/', '\\']), "{}", attachment.name);
        assert!(attachment.content_type.is_ascii());
        lines.push(&attachment.name);
        lines.extend(attachment.content_id.as_deref());
    }
    let ids = [&message.message_id, &message.in_reply_to, &message.subject, &message.auto_submitted];
    let marks = [&message.precedence, &message.list_id, &message.return_path];
    lines.extend(ids.into_iter().chain(marks).flatten().map(String::as_str));
    lines.extend(message.references.iter().map(String::as_str));
    for line in lines {
        assert!(!line.contains(|character: char| character.is_control()), "{line:?}");
        assert!(line.len() <= limits.header_text_bytes);
    }
    for body in [&message.text, &message.html].into_iter().flatten() {
        assert!(!body.contains('\0') && body.len() <= limits.body_bytes);
    }
    for (position, attachment) in message.attachments.iter().enumerate() {
        assert_eq!(attachment.position, position);
    }
}

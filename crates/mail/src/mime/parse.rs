//! From raw bytes to what a record needs. Never fails: what cannot be read is missing and named by a warning.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use model::address::normalize;
use model::message::{Importance, ParseWarning, ParsedMessage, Sensitivity};

use super::body;
use super::decode::Warnings;
use super::fields::Fields;
use super::limits::Limits;
use super::parties::Parties;
use super::split::split;

/// Fields that RFC 5322 section 3.6 lets stand once; the first counts. To and Cc are joined instead.
const ONCE: &[&str] = &["from", "sender", "reply-to", "to", "cc", "bcc", "date", "subject", "message-id"];

/// How many addresses of X-Failed-Recipients are read.
const FAILED_RECIPIENTS: usize = 1_000;

/// How long such an address may be, in bytes (RFC 3696 erratum 1690 counts 320).
const FAILED_BYTES: usize = 320;

/// Reads a message, or the header of one; one of lines that end with CR alone as if they ended with LF. The cost is linear in its size; depth and counts are bounded by `limits`.
pub fn parse(raw: &[u8], limits: &Limits) -> ParsedMessage {
    if raw.contains(&b'\r') && !raw.contains(&b'\n') {
        let lines: Vec<u8> = raw.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect();
        return parse(&lines, limits);
    }
    let mut message = ParsedMessage::default();
    let mut warnings = Warnings::new();
    let start = raw.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(raw.len());
    let fields = Fields::read(raw, start, limits, &mut warnings, |_| false);
    if fields.is_empty() {
        message.warn(ParseWarning::Unparsable);
        return message;
    }
    if raw[start..fields.body_at].contains(&0) {
        warnings.insert(ParseWarning::NulBytes);
    }
    if ONCE.iter().any(|name| fields.count(name) > 1) {
        warnings.insert(ParseWarning::RepeatedHeader);
    }
    read_parties(&mut message, &fields, limits, &mut warnings);
    read_dates(&mut message, &fields, &mut warnings);
    read_threading(&mut message, &fields, limits);
    read_marks(&mut message, &fields);

    let parts = split(raw, &fields, limits, &mut warnings);
    let body = body::read(raw, &parts, limits, &mut warnings);
    message.text = body.text;
    message.text_derived = body.text_derived;
    message.html = body.html;
    message.attachments = body.attachments;
    message.warnings = warnings.into_iter().collect();
    message
}

fn read_parties(message: &mut ParsedMessage, fields: &Fields<'_>, limits: &Limits, warnings: &mut Warnings) {
    let mut parties = Parties::new(limits);
    message.from = parties.authors(fields, "from", warnings);
    message.sender = parties.authors(fields, "sender", warnings).into_iter().next();
    message.reply_to = parties.authors(fields, "reply-to", warnings);
    message.to = parties.recipients(fields, "to", warnings);
    message.cc = parties.recipients(fields, "cc", warnings);
    message.bcc = parties.recipients(fields, "bcc", warnings);
    if message.from.is_empty() {
        warnings.insert(ParseWarning::NoFrom);
    }
    if message.to.is_empty() && message.cc.is_empty() && message.bcc.is_empty() {
        warnings.insert(ParseWarning::NoRecipients);
    }
}

fn read_dates(message: &mut ParsedMessage, fields: &Fields<'_>, warnings: &mut Warnings) {
    message.date = fields
        .date("date")
        .and_then(timestamp)
        .or_else(|| fields.text("date").and_then(|text| date_of_programs(text.trim())));
    if message.date.is_none() {
        let missing = fields.text("date").is_none_or(|text| text.is_empty());
        warnings.insert(if missing { ParseWarning::NoDate } else { ParseWarning::BadDate });
    }
    message.received = fields.date("received").and_then(timestamp);
}

/// Dates that programs write instead of the form that mail has: ISO 8601, and what C's `asctime` gives.
fn date_of_programs(text: &str) -> Option<Timestamp> {
    let asctime = || DateTime::strptime("%a %b %d %H:%M:%S %Y", text).ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| asctime().map(|zoned| zoned.timestamp()))
}

/// A leap second counts as the second before it; a day or an offset that cannot be makes the date none.
fn timestamp(date: mail_parser::DateTime) -> Option<Timestamp> {
    let date = mail_parser::DateTime { second: date.second.min(59), ..date };
    date.is_valid().then(|| Timestamp::from_second(date.to_timestamp()).ok()).flatten()
}

fn read_threading(message: &mut ParsedMessage, fields: &Fields<'_>, limits: &Limits) {
    message.message_id = fields.ids("message-id").into_iter().next();
    message.in_reply_to = fields.ids("in-reply-to").into_iter().next();
    message.references = fields.ids("references");
    let surplus = message.references.len().saturating_sub(limits.references);
    message.references.drain(..surplus);
    message.subject = fields.text("subject");
}

fn read_marks(message: &mut ParsedMessage, fields: &Fields<'_>) {
    message.auto_submitted = fields.token("auto-submitted");
    message.precedence = fields.token("precedence");
    message.list_id = fields.text("list-id").and_then(|text| {
        let id = text.rsplit_once('<').map_or(text.as_str(), |(_, id)| id);
        let id = id.trim_end_matches('>').trim().to_owned();
        (!id.is_empty()).then_some(id)
    });
    message.return_path =
        fields.text("return-path").map(|path| path.trim().trim_matches(['<', '>']).trim().to_owned());
    message.response_suppressed = fields.text("x-auto-response-suppress").map(|text| text.to_lowercase());
    message.autoreply = ["x-autoreply", "x-autorespond", "x-autoresponder", "x-mail-autoreply"]
        .iter()
        .any(|name| fields.token(name).is_some_and(|token| token != "no"));
    message.unsubscribable = fields.count("list-unsubscribe") > 0;
    message.report_type = fields.report_type();
    message.failed_recipients = failed_recipients(fields);
    message.sensitivity = match fields.token("sensitivity").as_deref() {
        Some("personal") => Sensitivity::Personal,
        Some("private") => Sensitivity::Private,
        Some("company-confidential" | "confidential") => Sensitivity::Confidential,
        _ => Sensitivity::Normal,
    };
    message.importance = importance(fields);
}

/// The addresses of X-Failed-Recipients, over all fields of that name: Exim begins a new one when one gets long.
fn failed_recipients(fields: &Fields<'_>) -> Vec<String> {
    let texts = fields.texts("x-failed-recipients", FAILED_RECIPIENTS);
    let mut failed: Vec<String> = Vec::new();
    for address in texts.iter().flat_map(|text| text.split(',')) {
        let address = normalize(address.trim().trim_matches(['<', '>']));
        let fit =
            address.contains('@') && address.len() <= FAILED_BYTES && !address.contains(char::is_whitespace);
        if fit && failed.len() < FAILED_RECIPIENTS && !failed.contains(&address) {
            failed.push(address);
        }
    }
    failed
}

/// Importance and Priority are of RFC 2156 section 5.3, the other two of the programs that came before it.
fn importance(fields: &Fields<'_>) -> Importance {
    for name in ["importance", "x-priority", "priority", "x-msmail-priority"] {
        let Some(token) = fields.token(name) else { continue };
        match token.split_whitespace().next().unwrap_or_default() {
            "high" | "urgent" | "1" | "2" => return Importance::High,
            "low" | "non-urgent" | "4" | "5" => return Importance::Low,
            _ => {}
        }
    }
    Importance::Normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> ParsedMessage {
        parse(
            format!("From: a@example.com\r\nTo: b@example.com\r\n{head}\r\n\r\n").as_bytes(),
            &Limits::default(),
        )
    }

    #[test]
    fn dates_are_read_as_people_and_programs_write_them() {
        for (written, read) in [
            ("Tue, 14 Nov 2023 22:13:20 +0000", Some("2023-11-14T22:13:20Z")),
            ("14 Nov 2023 22:13 -0500", Some("2023-11-15T03:13:00Z")),
            ("Tue, 14 Nov 23 22:13:20 GMT", Some("2023-11-14T22:13:20Z")),
            ("Tue, 14 Nov 99 22:13:20 EST", Some("1999-11-15T03:13:20Z")),
            ("Tue, 14 Nov 2023 22:13:20 +0530 (IST)", Some("2023-11-14T16:43:20Z")),
            ("Sat, 31 Dec 2016 23:59:60 +0000", Some("2016-12-31T23:59:59Z")),
            ("Tue,\r\n 14 Nov\r\n 2023 22:13:20 Z", Some("2023-11-14T22:13:20Z")),
            ("Tue, 14 Nov 2023 25:13:20 +0000", None),
            ("Tue, 99 Foo 2023 22:13:20 +0000", None),
            ("2023-11-14T22:13:20+01:00", Some("2023-11-14T21:13:20Z")),
            ("Tue Nov 14 22:13:20 2023", Some("2023-11-14T22:13:20Z")),
            ("yesterday", None),
        ] {
            let message = parsed(&format!("Date: {written}"));
            assert_eq!(message.date.map(|date| date.to_string()).as_deref(), read, "{written}");
            let expected: &[ParseWarning] = if read.is_some() { &[] } else { &[ParseWarning::BadDate] };
            assert_eq!(message.warnings, expected, "{written}");
        }
        assert_eq!(parsed("Date: ").warnings, [ParseWarning::NoDate]);
        assert_eq!(parsed("Subject: x").warnings, [ParseWarning::NoDate]);
    }

    #[test]
    fn a_subject_of_several_words_with_shift_states_reads_as_one() {
        // Each word returns to ASCII, as RFC 1468 wants it.
        let message =
            parsed("Subject: =?iso-2022-jp?B?GyRCJEQkJBsoQg==?=\r\n =?iso-2022-jp?B?GyRCJEYbKEI=?=");
        assert_eq!(message.subject.as_deref(), Some("\u{3064}\u{3044}\u{3066}"));
    }

    #[test]
    fn received_is_what_the_last_server_says() {
        let received = |head: &str| parsed(head).received.map(|date| date.to_string());
        let top = "Received: from a (b; c) by d; Tue, 14 Nov 2023 22:13:20 +0100\r\nReceived: x; 1 Jan 2001 00:00:00 GMT";
        assert_eq!(received(top).as_deref(), Some("2023-11-14T21:13:20Z"));
        assert_eq!(received("Received: without a date"), None);
        assert_eq!(received("Received: by x; nonsense"), None);
    }

    #[test]
    fn marks_of_automatic_and_urgent_mail_are_read() {
        let message = parsed(
            "Auto-Submitted: Auto-Replied; owner-email=x\r\nPrecedence: Bulk\r\nList-Id: \"News\" <news.example.com>\r\n\
             Return-Path: <bounce@example.com>\r\nSensitivity: Private\r\nX-Priority: 5 (Lowest)\r\nPriority: urgent",
        );
        assert_eq!(message.auto_submitted.as_deref(), Some("auto-replied"));
        assert_eq!(message.precedence.as_deref(), Some("bulk"));
        assert_eq!(message.list_id.as_deref(), Some("news.example.com"));
        assert_eq!(message.return_path.as_deref(), Some("bounce@example.com"));
        assert_eq!((message.sensitivity, message.importance), (Sensitivity::Private, Importance::Low));
        assert_eq!(parsed("Return-Path: <>").return_path.as_deref(), Some(""));
        assert_eq!(parsed("Subject: x").return_path, None);
    }
}

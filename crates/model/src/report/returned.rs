//! What a report returns of the email it speaks of: its header, as a part or as text. Only what finds it is read.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::MESSAGE_IDS;
use super::fields::groups;
use crate::message::ParsedMessage;

/// How much of a returned message is looked at, in bytes: its header.
const HEADER_BYTES: usize = 64 * 1024;
/// The longest Message-ID that is looked for.
const ID_BYTES: usize = 998;

/// What finds the email again.
#[derive(Debug, Default)]
pub(super) struct Returned {
    pub(super) message_ids: Vec<String>,
    pub(super) date: Option<Timestamp>,
}

impl Returned {
    /// Reads the returned part, or the copy in the text, and then what the report itself answers.
    pub(super) fn of(message: &ParsedMessage) -> Self {
        const TYPES: &[&str] = &[
            "message/rfc822",
            "message/global",
            "text/rfc822-headers",
            "message/rfc822-headers",
            "message/global-headers",
        ];
        let mut returned = Self::default();
        for part in &message.attachments {
            if TYPES.contains(&part.content_type.as_str()) {
                returned.header(&part.bytes[..part.bytes.len().min(HEADER_BYTES)]);
            }
        }
        if let Some(text) = &message.text {
            returned.copied(text);
        }
        for id in message.in_reply_to.iter().chain(message.references.iter().rev()) {
            returned.id(id);
        }
        returned
    }

    pub(super) fn id(&mut self, text: &str) {
        let text = text.trim();
        let id = match (text.find('<'), text.rfind('>')) {
            (Some(open), Some(close)) if open < close => &text[open + 1..close],
            _ => text.split_whitespace().next().unwrap_or_default(),
        };
        let fit = !id.is_empty() && id.len() <= ID_BYTES && id.chars().all(|c| !c.is_control() && c != ' ');
        if fit && self.message_ids.len() < MESSAGE_IDS && !self.message_ids.iter().any(|known| known == id) {
            self.message_ids.push(id.to_owned());
        }
    }

    /// The header of a returned message; some begin it with an empty line or an mbox separator.
    fn header(&mut self, bytes: &[u8]) {
        let Some(group) = groups(bytes).into_iter().find(|group| !group.is_empty()) else { return };
        if let Some(id) = group.get("message-id") {
            self.id(id);
        }
        let date = group.get("date").and_then(|date| DateTimeParser::new().parse_zoned(date).ok());
        self.date = self.date.or(date.map(|date| date.timestamp()));
    }

    /// A header that was copied into the text, quoted or not.
    fn copied(&mut self, text: &str) {
        let mut lines = text.lines().map(|line| line.trim_start_matches(['>', ' ', '\t'])).peekable();
        while let Some(line) = lines.next() {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("message-id") {
                match value.trim() {
                    "" => self.id(lines.peek().copied().unwrap_or_default()),
                    value => self.id(value),
                }
            } else if name.eq_ignore_ascii_case("date") && self.date.is_none() {
                self.date = DateTimeParser::new().parse_zoned(value.trim()).ok().map(|date| date.timestamp());
            }
        }
    }
}

//! Header fields found in the raw bytes, bounded before anything reads their values; a broken line never ends them.

use mail_parser::decoders::charsets::DecoderFnc;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};
use model::message::ParseWarning;

use super::decode::{Warnings, guessed};
use super::limits::Limits;
use super::mask;
use super::parameters::{parameter, told_apart};
use super::words::{join_encoded_words, one_line};

/// The fields of one header, in order, and where its body begins.
#[derive(Debug)]
pub(crate) struct Fields<'x> {
    /// Name and value of each.
    list: Vec<(&'x [u8], &'x [u8])>,
    /// How texts that are neither ASCII nor UTF-8 are read: by the charset of the body, if it names one.
    raw_charset: Option<DecoderFnc>,
    header_text_bytes: usize,
    /// The place of the first byte after the header.
    pub(crate) body_at: usize,
}

/// Fields whose values are lists of addresses, which may be long.
const ADDRESS_FIELDS: &[&str] = &["from", "sender", "reply-to", "to", "cc", "bcc"];

impl<'x> Fields<'x> {
    /// Reads the header that begins at `from`. A line for which `stop` holds ends it before its time: the boundary of
    /// a multipart (RFC 2046 section 5.1.1).
    pub(crate) fn read(
        raw: &'x [u8],
        from: usize,
        limits: &Limits,
        warnings: &mut Warnings,
        stop: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut fields: Vec<(usize, usize, usize)> = Vec::new();
        let mut odd_line = None;
        let mut open = false;
        let mut at = from;
        let mut ended = false;
        while at < raw.len() {
            let end =
                raw[at..].iter().position(|byte| *byte == b'\n').map_or(raw.len(), |length| at + length + 1);
            let line = &raw[at..end];
            let text = trim_line_end(line);
            if text.is_empty() || stop(text) {
                ended = true;
                at = if text.is_empty() { end } else { at };
                break;
            }
            if matches!(text[0], b' ' | b'\t') {
                if let (true, Some(last)) = (open, fields.last_mut()) {
                    last.2 = end;
                }
            } else if let Some(colon) = name_end(text) {
                open = fields.len() < limits.headers;
                if open {
                    fields.push((at, at + colon, end));
                } else {
                    warnings.insert(ParseWarning::TooManyHeaders);
                }
            } else {
                // Not a field: an mbox separator, or a long line somebody broke. It belongs to nothing.
                open = false;
                if !text.starts_with(b"From ") && !text.starts_with(b">From ") {
                    odd_line.get_or_insert(at);
                }
            }
            at = end;
        }
        // A header that runs to the end of the message without an empty line has its body where the fields stop.
        let body_at = if ended { at } else { odd_line.unwrap_or(raw.len()) };
        let fields = fields
            .into_iter()
            .map(|(start, colon, end)| {
                let name = raw[start..colon].trim_ascii();
                (name, bounded(name, &raw[colon + 1..end], limits, warnings))
            })
            .collect();
        let mut read =
            Self { list: fields, raw_charset: None, header_text_bytes: limits.header_text_bytes, body_at };
        if let Some(HeaderValue::ContentType(content)) = read.content("content-type") {
            read.raw_charset =
                parameter(&content, "charset").and_then(|label| charset_decoder(label.as_bytes()));
        }
        read
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every value of the fields with this lower-case name.
    fn all(&self, name: &str) -> impl Iterator<Item = &'x [u8]> {
        self.list
            .iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// How often a field stands in the header.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }

    /// The value of a field as the foreign parser wants it: UTF-8, words joined, ended by a line feed.
    fn prepared(&self, value: &[u8]) -> Vec<u8> {
        let text = match (std::str::from_utf8(value), self.raw_charset) {
            (Ok(text), _) => text.to_owned(),
            (Err(_), Some(decode)) => decode(value),
            (Err(_), None) => guessed(value),
        };
        let mut prepared = join_encoded_words(text.as_bytes());
        prepared.retain(|byte| *byte != 0);
        while prepared.last().is_some_and(u8::is_ascii_whitespace) {
            prepared.pop();
        }
        prepared.push(b'\n');
        prepared
    }

    /// The first field of this name as one decoded line.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let prepared = self.prepared(self.all(name).next()?);
        let value = MessageStream::new(&prepared).parse_unstructured();
        let text = value.as_text().unwrap_or_default();
        Some(one_line(text, self.header_text_bytes))
    }

    /// The first `most` fields of this name, each as one decoded line.
    pub(crate) fn texts(&self, name: &str, most: usize) -> Vec<String> {
        let values = self.all(name).take(most);
        values
            .map(|value| {
                let prepared = self.prepared(value);
                let value = MessageStream::new(&prepared).parse_unstructured();
                one_line(value.as_text().unwrap_or_default(), self.header_text_bytes)
            })
            .collect()
    }

    /// The report-type of a multipart/report, in lower case (RFC 6522 section 3).
    pub(crate) fn report_type(&self) -> Option<String> {
        let Some(HeaderValue::ContentType(said)) = self.content("content-type") else { return None };
        let report = said.c_type.eq_ignore_ascii_case("multipart")
            && said.c_subtype.as_deref().is_some_and(|sub| sub.eq_ignore_ascii_case("report"));
        let kind = parameter(&said, "report-type").filter(|_| report)?;
        let kind = one_line(&kind.to_ascii_lowercase(), 100);
        (!kind.is_empty()).then_some(kind)
    }

    /// The first word of a field, in lower case, without parameters and comments.
    pub(crate) fn token(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let token = text.split([';', '(']).next().unwrap_or_default().trim().to_lowercase();
        (!token.is_empty()).then_some(token)
    }

    /// The ids of the first field of this name, without angle brackets and white space.
    pub(crate) fn ids(&self, name: &str) -> Vec<String> {
        let Some(value) = self.all(name).next() else { return Vec::new() };
        let prepared = self.prepared(value);
        let ids = match MessageStream::new(&prepared).parse_id() {
            HeaderValue::Text(id) => vec![id],
            HeaderValue::TextList(ids) => ids,
            _ => Vec::new(),
        };
        let clean =
            |id: &str| id.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect::<String>();
        ids.iter()
            .map(|id| one_line(&clean(id), self.header_text_bytes))
            .filter(|id| !id.is_empty())
            .collect()
    }

    /// The first field of this name as a date; the date of a Received stands behind its last semicolon.
    pub(crate) fn date(&self, name: &str) -> Option<DateTime> {
        let prepared = self.prepared(self.all(name).next()?);
        let from = match name {
            "received" => prepared.iter().rposition(|byte| *byte == b';')? + 1,
            _ => 0,
        };
        match MessageStream::new(&prepared[from..]).parse_date() {
            HeaderValue::DateTime(date) => Some(date),
            _ => None,
        }
    }

    /// Content-Type or Content-Disposition, with RFC 2231 parameters put together; [`parameter`] reads them.
    pub(crate) fn content(&self, name: &str) -> Option<HeaderValue<'static>> {
        let prepared = told_apart(&self.prepared(self.all(name).next()?));
        Some(MessageStream::new(&prepared).parse_content_type().into_owned())
    }

    /// The first `most` fields of this name as addresses, with the marks hidden that [`mask::show`] shows again.
    pub(crate) fn addresses(&self, name: &str, most: usize) -> Vec<HeaderValue<'static>> {
        self.all(name)
            .take(most)
            .map(|value| {
                let prepared = self.prepared(value);
                let masked = mask::hide(&String::from_utf8_lossy(&prepared)).into_owned();
                MessageStream::new(masked.as_bytes()).parse_address().into_owned()
            })
            .collect()
    }
}

/// A long list of addresses is cut behind its last whole address, any other value where it must be.
fn bounded<'x>(name: &[u8], value: &'x [u8], limits: &Limits, warnings: &mut Warnings) -> &'x [u8] {
    let addresses = ADDRESS_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()));
    let limit = if addresses { limits.address_header_bytes } else { limits.header_bytes };
    if value.len() <= limit {
        return value;
    }
    warnings.insert(ParseWarning::HeaderTooLong);
    let cut = &value[..limit];
    match cut.iter().rposition(|byte| *byte == b',') {
        Some(comma) if addresses => &cut[..comma],
        _ => cut,
    }
}

/// Where the name of a field ends, if this line begins one: printable ASCII without spaces (RFC 5322 section 2.2),
/// and the space before the colon that section 4.5 lets stand.
fn name_end(line: &[u8]) -> Option<usize> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(colon)
}

/// A line without its line feed and the carriage returns before it.
pub(crate) fn trim_line_end(line: &[u8]) -> &[u8] {
    let mut line = line.strip_suffix(b"\n").unwrap_or(line);
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    line
}

//! Messages written as mail programs of many kinds write them: charsets, encoded words, transfer encodings, parts.
//! Written apart from the code that Lockstep reads and builds messages with, so that the two can be held together.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use encoding_rs::{Encoding, GB18030, ISO_2022_JP, KOI8_R, UTF_8, WINDOWS_1252};

/// How a text becomes the bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    SevenBit,
    EightBit,
    QuotedPrintable,
    Base64,
}

/// What a correspondent's mail program writes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    /// The charset as the message names it.
    pub(super) charset: &'static str,
    pub(super) transfer: Transfer,
}

/// A part: its own header fields, an empty line, its body.
pub(super) type Part = Vec<u8>;

impl Script {
    pub(super) const fn new(charset: &'static str, transfer: Transfer) -> Self {
        Self { charset, transfer }
    }

    fn encoding(self) -> &'static Encoding {
        match self.charset {
            // They differ in what no text here has.
            "iso-8859-1" => WINDOWS_1252,
            "iso-2022-jp" => ISO_2022_JP,
            "gb18030" => GB18030,
            "koi8-r" => KOI8_R,
            _ => UTF_8,
        }
    }

    fn bytes(self, text: &str) -> Vec<u8> {
        self.encoding().encode(text).0.into_owned()
    }

    /// A text for a header field: as it is, or as encoded words of at most 75 characters (RFC 2047 section 2), none
    /// of which splits a character.
    pub(super) fn words(self, text: &str) -> String {
        if text.is_ascii() {
            return text.to_owned();
        }
        let (mut words, mut piece) = (Vec::new(), String::new());
        for character in text.chars() {
            piece.push(character);
            if self.bytes(&piece).len() > 36 {
                words.push(self.word(&std::mem::take(&mut piece)));
            }
        }
        if !piece.is_empty() {
            words.push(self.word(&piece));
        }
        words.join("\r\n ")
    }

    fn word(self, text: &str) -> String {
        format!("=?{}?B?{}?=", self.charset, BASE64_STANDARD.encode(self.bytes(text)))
    }

    /// A mailbox with its name.
    pub(super) fn address(self, name: &str, address: &str) -> String {
        match name {
            "" => address.to_owned(),
            _ if !name.is_ascii() => format!("{} <{address}>", self.words(name)),
            _ if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ') => {
                format!("{name} <{address}>")
            }
            _ => format!("\"{name}\" <{address}>"),
        }
    }

    /// A part of text.
    pub(super) fn text(self, subtype: &str, text: &str) -> Part {
        let bytes = self.bytes(&text.replace('\n', "\r\n"));
        let (transfer, body) = match self.transfer {
            Transfer::SevenBit => ("7bit", bytes),
            Transfer::EightBit => ("8bit", bytes),
            Transfer::QuotedPrintable => ("quoted-printable", quoted_printable(&bytes)),
            Transfer::Base64 => ("base64", base64_lines(&bytes)),
        };
        let head = format!("Content-Type: text/{subtype}; charset={}", self.charset);
        part(&format!("{head}\r\nContent-Transfer-Encoding: {transfer}"), &body)
    }
}

/// A part of these header fields.
pub(super) fn part(fields: &str, body: &[u8]) -> Part {
    [fields.as_bytes(), b"\r\n\r\n", body].concat()
}

/// A file as an attachment, or shown within the HTML that names its Content-ID.
pub(super) fn file(name: &str, content_type: &str, shown_as: Option<&str>, bytes: &[u8]) -> Part {
    let disposition = if shown_as.is_some() { "inline" } else { "attachment" };
    let id = shown_as.map(|id| format!("\r\nContent-ID: <{id}>")).unwrap_or_default();
    let fields = format!(
        "Content-Type: {content_type}; name=\"{name}\"\r\n\
         Content-Disposition: {disposition}; filename=\"{name}\"{id}\r\n\
         Content-Transfer-Encoding: base64"
    );
    part(&fields, &base64_lines(bytes))
}

/// Several parts as one.
pub(super) fn multipart(kind: &str, boundary: &str, parts: &[Part]) -> Part {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    part(&format!("Content-Type: multipart/{kind};\r\n boundary=\"{boundary}\""), &body)
}

/// RFC 2045 section 6.8: lines of 76 characters.
pub(super) fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(bytes).into_bytes();
    text.chunks(76).flat_map(|line| [line, b"\r\n"].concat()).collect()
}

/// RFC 2045 section 6.7.
fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let mut length = 0;
        for (at, byte) in text.iter().enumerate() {
            let at_end = at + 1 == text.len();
            let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (*byte == b' ' && !at_end);
            let piece = if plain { vec![*byte] } else { format!("={byte:02X}").into_bytes() };
            if length + piece.len() > 75 {
                encoded.extend_from_slice(b"=\r\n");
                length = 0;
            }
            length += piece.len();
            encoded.extend_from_slice(&piece);
        }
        if lines.peek().is_some() {
            encoded.extend_from_slice(b"\r\n");
        }
    }
    encoded
}

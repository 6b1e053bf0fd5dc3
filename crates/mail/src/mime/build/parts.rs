//! The body of a message to send: text, HTML with its text alternative and its pictures, and files beside them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use model::message::{OutgoingAttachment, OutgoingMessage};
use sha2::{Digest as _, Sha256};

use super::check::media_type;
use crate::mime::html;

/// How much HTML is turned into its text alternative; more is rather long to read.
const ALTERNATIVE_BYTES: usize = 1024 * 1024;
/// The longest line that may leave (RFC 5322 section 2.1.1).
const LINE_BYTES: usize = 998;

/// The structure: `mixed(alternative(text, related(html, pictures…)), files…)`, without the levels that have nothing
/// to hold together.
pub(super) fn body(message: &OutgoingMessage) -> MimePart<'_> {
    let mut boundaries = Boundaries::new(&message.message_id);
    let (pictures, files): (Vec<_>, Vec<_>) = message
        .attachments
        .iter()
        .partition(|attachment| attachment.inline_id.is_some() && message.html.is_some());

    let readable = match (&message.text, &message.html) {
        (text, None) => text_part("text/plain", text.as_deref().unwrap_or_default()),
        (text, Some(html)) => {
            let text = match text {
                Some(text) => text_part("text/plain", text),
                None => text_part("text/plain", &html::to_text(html, ALTERNATIVE_BYTES)),
            };
            let html = text_part("text/html", html);
            let pictures: Vec<_> = pictures.into_iter().map(file).collect();
            let html = boundaries.hold("multipart/related", html, pictures);
            boundaries.hold("multipart/alternative", text, vec![html])
        }
    };
    boundaries.hold("multipart/mixed", readable, files.into_iter().map(file).collect())
}

/// Boundaries that depend on the Message-ID alone: nobody who writes a body knows it, and a second try looks the same.
struct Boundaries {
    seed: String,
    used: usize,
}

impl Boundaries {
    fn new(message_id: &str) -> Self {
        let digest = Sha256::digest(message_id.as_bytes());
        Self { seed: URL_SAFE_NO_PAD.encode(&digest[..15]), used: 0 }
    }

    /// A multipart of a first part and others, or the first part alone. `=_` stands in no encoded body
    /// (RFC 2045 section 6.7).
    fn hold<'x>(
        &mut self,
        kind: &'static str,
        first: MimePart<'x>,
        others: Vec<MimePart<'x>>,
    ) -> MimePart<'x> {
        if others.is_empty() {
            return first;
        }
        self.used += 1;
        let boundary = format!("=_{}_{}", self.seed, self.used);
        let parts: Vec<_> = std::iter::once(first).chain(others).collect();
        MimePart::new(ContentType::new(kind).attribute("boundary", boundary), parts)
    }
}

/// Text with one kind of line end and without NUL; the builder chooses 7bit, quoted-printable or base64.
fn text_part(kind: &'static str, text: &str) -> MimePart<'static> {
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let text = text.replace('\n', "\r\n");
    MimePart::new(ContentType::new(kind).attribute("charset", "utf-8"), BodyPart::Text(Cow::Owned(text)))
}

fn file(attachment: &OutgoingAttachment) -> MimePart<'_> {
    let (mut kind, mut parameters) = media_type(&attachment.content_type)
        .unwrap_or_else(|| ("application/octet-stream".into(), Vec::new()));
    let clean = is_clean(&attachment.bytes);
    // A multipart or a message may not be encoded (RFC 2046 sections 5.1 and 5.2.1): what needs it goes as a file.
    let composite = kind.starts_with("multipart/") || kind.starts_with("message/");
    if composite && !(clean && kind.starts_with("message/")) {
        kind = "application/octet-stream".into();
        parameters.clear();
    }
    let (encoding, bytes) = if composite && kind.starts_with("message/") {
        ("7bit", Cow::Borrowed(attachment.bytes.as_ref()))
    } else {
        ("base64", Cow::Owned(base64_lines(&attachment.bytes)))
    };
    let mut content_type = ContentType::new(kind);
    for (key, value) in parameters {
        content_type = content_type.attribute(key, value);
    }
    let disposition = if attachment.inline_id.is_some() { "inline" } else { "attachment" };
    let mut part = MimePart::new(content_type, BodyPart::Binary(bytes)).header(
        "Content-Disposition",
        ContentType::new(disposition).attribute("filename", attachment.name.as_str()),
    );
    if let Some(id) = &attachment.inline_id {
        part = part.cid(id.as_str());
    }
    part.header("Content-Transfer-Encoding", Raw::new(encoding))
}

/// Whether bytes can travel as they are: ASCII lines of at most 998 bytes, ended by CRLF, without NUL.
fn is_clean(bytes: &[u8]) -> bool {
    let ended = bytes.split(|byte| *byte == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r"));
    ended
        && bytes.split(|byte| *byte == b'\n').all(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.len() <= LINE_BYTES && line.iter().all(|byte| byte.is_ascii() && !matches!(byte, 0 | b'\r'))
        })
}

/// The builder treats text files as text and changes their line ends; a file must arrive as it was.
fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len() / 57 * 78 + 80);
    for chunk in bytes.chunks(57) {
        lines.extend_from_slice(STANDARD.encode(chunk).as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

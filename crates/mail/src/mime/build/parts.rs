//! The body of a message to send: text, HTML with its text alternative and its pictures, and places for files beside them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use model::message::{OutgoingAttachment, OutgoingMessage};
use sha2::{Digest as _, Sha256};

use super::check::media_type;
use super::file::{Content, Encoding};
use crate::mime::html;

/// How much HTML is turned into its text alternative; more is rather long to read.
const ALTERNATIVE_BYTES: usize = 1024 * 1024;

/// The structure: `mixed(alternative(text, related(html, pictures…)), files…)`, without the levels that have nothing
/// to hold together. Each file is stood in for by its mark; beside it comes how each one travels.
pub(super) fn body<'x>(
    message: &'x OutgoingMessage,
    contents: &[Content],
    marks: &'x [Vec<u8>],
) -> (MimePart<'x>, Vec<Encoding>) {
    let mut boundaries = Boundaries::new(&message.message_id);
    let (mut pictures, mut files, mut encodings) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (attachment, mark)) in message.attachments.iter().zip(marks).enumerate() {
        let clean = contents.get(number).is_some_and(|content| content.clean);
        let (part, encoding) = file(attachment, clean, mark);
        let shown = attachment.inline_id.is_some() && message.html.is_some();
        let group: &mut Vec<_> = if shown { &mut pictures } else { &mut files };
        group.push(part);
        encodings.push(encoding);
    }

    let readable = match (&message.text, &message.html) {
        (text, None) => text_part("text/plain", text.as_deref().unwrap_or_default()),
        (text, Some(html)) => {
            let text = match text {
                Some(text) => text_part("text/plain", text),
                None => text_part("text/plain", &html::to_text(html, ALTERNATIVE_BYTES)),
            };
            let html = text_part("text/html", html);
            let html = boundaries.hold("multipart/related", html, pictures);
            boundaries.hold("multipart/alternative", text, vec![html])
        }
    };
    (boundaries.hold("multipart/mixed", readable, files), encodings)
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

/// The part of a file, with its mark in place of its content.
fn file<'x>(attachment: &'x OutgoingAttachment, clean: bool, mark: &'x [u8]) -> (MimePart<'x>, Encoding) {
    let (mut kind, mut parameters) = media_type(&attachment.content_type)
        .unwrap_or_else(|| ("application/octet-stream".into(), Vec::new()));
    // A multipart or a message may not be encoded (RFC 2046 sections 5.1 and 5.2.1): what needs it goes as a file.
    let as_it_is = clean && kind.starts_with("message/");
    if !as_it_is && (kind.starts_with("multipart/") || kind.starts_with("message/")) {
        kind = "application/octet-stream".into();
        parameters.clear();
    }
    let (name, encoding) = if as_it_is { ("7bit", Encoding::AsItIs) } else { ("base64", Encoding::Base64) };
    let mut content_type = ContentType::new(kind);
    for (key, value) in parameters {
        content_type = content_type.attribute(key, value);
    }
    let disposition = if attachment.inline_id.is_some() { "inline" } else { "attachment" };
    let mut part = MimePart::new(content_type, BodyPart::Binary(Cow::Borrowed(mark))).header(
        "Content-Disposition",
        ContentType::new(disposition).attribute("filename", attachment.name.as_str()),
    );
    if let Some(id) = &attachment.inline_id {
        part = part.cid(id.as_str());
    }
    // Said by us, so that the builder writes the mark as it is.
    (part.header("Content-Transfer-Encoding", Raw::new(name)), encoding)
}

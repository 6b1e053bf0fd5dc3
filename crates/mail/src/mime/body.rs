//! Which parts are the body to read and which are attachments, and the two texts that come of it.

use std::borrow::Cow;

use bytes::Bytes;
use model::message::{ParseWarning, ParsedAttachment};

use super::attachment::{keep, safe_name};
use super::content::{Content, Disposition};
use super::decode::{Warnings, charset, transfer};
use super::flowed;
use super::html;
use super::limits::Limits;
use super::split::Part;
use super::{uuencode, words};

/// What a message gives to read and to save.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) text: Option<String>,
    pub(crate) text_derived: bool,
    pub(crate) html: Option<String>,
    pub(crate) attachments: Vec<ParsedAttachment>,
}

/// A piece of the body: as text, as HTML, or the same as both.
#[derive(Debug, Default)]
struct Piece {
    text: Option<String>,
    html: Option<String>,
}

/// Reads the body of a message from its parts, of which the first is the message itself.
pub(crate) fn read(raw: &[u8], parts: &[Part], limits: &Limits, warnings: &mut Warnings) -> Body {
    let mut reader = Reader { raw, parts, limits, warnings, attachments: Vec::new() };
    let mut pieces = Vec::new();
    reader.walk(0, Place::Alone, &mut pieces);
    let attachments = std::mem::take(&mut reader.attachments);
    let mut body = join(pieces, limits, warnings);
    body.attachments = attachments;
    for text in [&mut body.text, &mut body.html].into_iter().flatten() {
        if words::cut(text, limits.body_bytes) {
            warnings.insert(ParseWarning::TruncatedText);
        }
    }
    body
}

/// Where a part lies, which decides what it is when it does not say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The message itself, or first in it.
    Alone,
    /// One of several.
    Among,
    /// Beside the root of a multipart/related: spoken of by the root, not to be read by itself.
    Related,
}

struct Reader<'r> {
    raw: &'r [u8],
    parts: &'r [Part],
    limits: &'r Limits,
    warnings: &'r mut Warnings,
    attachments: Vec<ParsedAttachment>,
}

impl Reader<'_> {
    /// Walks one part and what lies in it. Recursion is as deep as parts may nest, which the limits say.
    fn walk(&mut self, index: usize, place: Place, pieces: &mut Vec<Piece>) {
        let Some(part) = self.parts.get(index) else { return };
        if !part.is_multipart {
            return self.leaf(part, place, pieces);
        }
        if part.children.is_empty() {
            // Its boundary never came: what it holds can still be read.
            self.warnings.insert(ParseWarning::BrokenMultipart);
            let text = self.decoded(part);
            pieces.push(Piece { text: Some(self.plain(&text)), html: None });
            return;
        }
        match part.content.sub.as_str() {
            "alternative" => {
                let mut ways = Vec::new();
                for &child in &part.children {
                    let mut way = Vec::new();
                    self.walk(child, Place::Among, &mut way);
                    ways.push(way);
                }
                pieces.push(alternative(ways));
            }
            "related" => {
                let named = |child: &&usize| {
                    let id = self.parts.get(**child).and_then(|part| part.content.id.as_deref());
                    id.is_some() && id == part.content.start.as_deref()
                };
                let root = part.children.iter().find(named).or(part.children.first()).copied();
                for &child in &part.children {
                    let place = if Some(child) == root { place } else { Place::Related };
                    self.walk(child, place, pieces);
                }
            }
            _ => {
                for (number, &child) in part.children.iter().enumerate() {
                    let first = number == 0 && place == Place::Alone;
                    let place = match place {
                        Place::Related => Place::Related,
                        _ if first => Place::Alone,
                        _ => Place::Among,
                    };
                    self.walk(child, place, pieces);
                }
            }
        }
    }

    fn leaf(&mut self, part: &Part, place: Place, pieces: &mut Vec<Piece>) {
        let content = &part.content;
        let readable = content.is("text", "plain") || content.is("text", "html");
        // A name makes a text a file, unless it is all there is to read.
        let file = content.disposition == Disposition::Attachment
            || place == Place::Related
            || (content.name.is_some() && place != Place::Alone);
        if content.main == "multipart" && content.boundary.is_none() {
            let text = self.decoded(part);
            pieces.push(Piece { text: Some(self.plain(&text)), html: None });
        } else if !readable || file {
            if is_tnef(content) {
                self.warnings.insert(ParseWarning::OutlookRichText);
            }
            if is_sealed(content) {
                self.warnings.insert(ParseWarning::Sealed);
            }
            let shown = place == Place::Related || content.main == "image";
            let attachment = keep(self.raw, part, self.attachments.len(), shown, self.warnings);
            self.attachments.push(attachment);
        } else if content.sub == "html" {
            let mut html = self.decoded(part).into_owned();
            if html.contains('\0') {
                self.warnings.insert(ParseWarning::NulBytes);
                html.retain(|character| character != '\0');
            }
            pieces.push(Piece { text: None, html: Some(html) });
        } else {
            let bytes = transfer(&self.raw[part.body.clone()], content.encoding, self.warnings);
            let bytes = self.without_files(&bytes);
            let text = self.in_charset(&bytes, part);
            let mut text = self.plain(&text);
            if content.flowed {
                text = flowed::unfold(&text, content.delsp);
            }
            pieces.push(Piece { text: Some(text), html: None });
        }
    }

    /// The text of a part out of its transfer encoding and its charset. What the limit would cut anyway is not
    /// decoded: no charset needs more than four bytes for a character.
    fn decoded(&mut self, part: &Part) -> Cow<'static, str> {
        let bytes = transfer(&self.raw[part.body.clone()], part.content.encoding, self.warnings);
        self.in_charset(&bytes, part)
    }

    fn in_charset(&mut self, bytes: &[u8], part: &Part) -> Cow<'static, str> {
        let most = self.limits.body_bytes.saturating_mul(4).min(bytes.len());
        if most < bytes.len() {
            self.warnings.insert(ParseWarning::TruncatedText);
        }
        Cow::Owned(charset(&bytes[..most], part.content.charset.as_deref(), self.warnings))
    }

    /// A text without the files that stand in it, which become attachments.
    fn without_files<'t>(&mut self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let most = self.limits.parts.saturating_sub(self.attachments.len());
        let (rest, found) = uuencode::take_out(text, most);
        if found.left {
            self.warnings.insert(ParseWarning::UuencodedText);
        }
        if found.yenc {
            self.warnings.insert(ParseWarning::YencText);
        }
        for block in found.blocks {
            let position = self.attachments.len();
            self.attachments.push(ParsedAttachment {
                position,
                name: safe_name(Some(&block.name))
                    .unwrap_or_else(|| format!("attachment-{}.bin", position + 1)),
                content_type: "application/octet-stream".to_owned(),
                content_id: None,
                inline: false,
                bytes: Bytes::from(block.bytes),
            });
        }
        rest
    }

    /// Plain text with LF at its line ends and without control characters other than tabs.
    fn plain(&mut self, text: &str) -> String {
        if text.contains('\0') {
            self.warnings.insert(ParseWarning::NulBytes);
        }
        let mut text = with_line_feeds(text);
        if has_controls(text.as_bytes()) {
            text.retain(|character| matches!(character, '\n' | '\t') || !character.is_control());
        }
        text
    }
}

/// The text with LF where it had CRLF or CR.
fn with_line_feeds(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut lines, mut from) = (String::with_capacity(text.len()), 0);
    for at in memchr::memchr_iter(b'\r', bytes) {
        lines.push_str(&text[from..at]);
        if bytes.get(at + 1) != Some(&b'\n') {
            lines.push('\n');
        }
        from = at + 1;
    }
    lines.push_str(&text[from..]);
    lines
}

/// Whether a text has control characters other than LF and tab. Almost none has any, so they are counted: that needs no
/// branch for each byte.
fn has_controls(text: &[u8]) -> bool {
    let control = |byte: &&u8| (**byte < b' ' && **byte != b'\n' && **byte != b'\t') || **byte == 0x7f;
    let ascii = text.iter().filter(control).count() > 0;
    // U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
    ascii || memchr::memchr_iter(0xc2, text).any(|at| text.get(at + 1).is_some_and(|next| *next < 0xa0))
}

/// What holds the content itself in a form that only a key opens: an S/MIME envelope (RFC 8551 section 3), PGP (RFC 3156
/// section 4), or a rights-managed message (\[MS-OXORMMS\] section 2.1.2).
fn is_sealed(content: &Content) -> bool {
    content.main == "application"
        && matches!(
            content.sub.as_str(),
            "pkcs7-mime" | "x-pkcs7-mime" | "pgp-encrypted" | "x-microsoft-rpmsg-message"
        )
}

/// What Outlook makes of a message in its own format (MS-OXTNEF): a file that holds the formatted text and all files.
fn is_tnef(content: &Content) -> bool {
    let named = content.name.as_deref().is_some_and(|name| name.trim().eq_ignore_ascii_case("winmail.dat"));
    matches!(content.sub.as_str(), "ms-tnef" | "vnd.ms-tnef")
        || (named && content.is("application", "octet-stream"))
}

/// One thing said several ways: the last text and the last HTML are the best of their kind (RFC 2046 section 5.1.4).
fn alternative(ways: Vec<Vec<Piece>>) -> Piece {
    let mut best = Piece::default();
    for way in ways {
        let html: Vec<String> = if way.iter().any(|piece| piece.html.is_some()) {
            way.iter().map(as_html).collect()
        } else {
            Vec::new()
        };
        let text: Vec<String> = way.into_iter().filter_map(|piece| piece.text).collect();
        if !html.is_empty() {
            best.html = Some(html.join("\n"));
        } else if !text.is_empty() {
            best.text = Some(text.join("\n"));
        }
    }
    best
}

fn as_html(piece: &Piece) -> String {
    match (&piece.html, &piece.text) {
        (Some(html), _) => html.clone(),
        (None, text) => format!("<pre>{}</pre>", escaped(text.as_deref().unwrap_or_default())),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The pieces in order as one text and, when there is HTML among them, as one HTML.
fn join(pieces: Vec<Piece>, limits: &Limits, warnings: &mut Warnings) -> Body {
    let pieces: Vec<Piece> =
        pieces.into_iter().filter(|piece| piece.text.is_some() || piece.html.is_some()).collect();
    if pieces.is_empty() {
        return Body::default();
    }
    let has_html = pieces.iter().any(|piece| piece.html.is_some());
    let html = has_html.then(|| pieces.iter().map(as_html).collect::<Vec<_>>().join("\n"));
    let mut derived = false;
    let mut budget = limits.html_to_text_bytes;
    let texts: Vec<String> = pieces
        .into_iter()
        .map(|piece| match (piece.text, piece.html) {
            (Some(text), _) => text,
            (None, html) => {
                derived = true;
                let html = html.unwrap_or_default();
                if html.len() > budget {
                    warnings.insert(ParseWarning::TruncatedText);
                }
                let text = html::to_text(&html, budget);
                budget = budget.saturating_sub(html.len());
                text
            }
        })
        .collect();
    let text = Some(texts.join("\n")).filter(|text| has_html || !text.is_empty());
    Body { text, text_derived: derived, html, attachments: Vec::new() }
}

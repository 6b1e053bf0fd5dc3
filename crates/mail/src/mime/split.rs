//! Where the parts of a message lie: one pass over its lines, with a stack that cannot grow beyond the limit.
//!
//! It never descends into a nested message, decodes nothing and copies nothing.

use std::ops::Range;

use model::message::ParseWarning;

use super::content::Content;
use super::decode::Warnings;
use super::fields::{Fields, trim_line_end};
use super::limits::Limits;

/// One part: a multipart with its children, or a leaf.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) content: Content,
    /// The bytes of the body, still encoded. Of a multipart: everything between its header and its end.
    pub(crate) body: Range<usize>,
    /// Indexes of the parts within, in order.
    pub(crate) children: Vec<usize>,
    /// Whether its parts were looked for.
    pub(crate) is_multipart: bool,
}

/// A multipart whose end was not seen yet.
struct Open {
    part: usize,
    boundary: Vec<u8>,
}

/// What a line that begins with `--` is to an open multipart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Next,
    Close,
}

/// The parts of a message, the whole message first.
pub(crate) fn split(raw: &[u8], head: &Fields<'_>, limits: &Limits, warnings: &mut Warnings) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    // The leaf whose body is being passed; none in a preamble and in an epilogue.
    let mut leaf = add(&mut parts, &mut open, Content::read(head, false), head.body_at, limits, warnings);
    let mut at = head.body_at;
    while at < raw.len() && !open.is_empty() {
        let end =
            raw[at..].iter().position(|byte| *byte == b'\n').map_or(raw.len(), |length| at + length + 1);
        let Some((level, delimiter)) = delimiter(&open, trim_line_end(&raw[at..end])) else {
            at = end;
            continue;
        };
        let body_end = before_line_end(raw, at);
        if let Some(leaf) = leaf.take() {
            close(&mut parts, leaf, body_end);
        }
        for inner in open.drain(level + 1..) {
            close(&mut parts, inner.part, body_end);
        }
        at = end;
        if delimiter == Delimiter::Close {
            if let Some(closed) = open.pop() {
                close(&mut parts, closed.part, end);
            }
            continue;
        }
        if parts.len() >= limits.parts {
            warnings.insert(ParseWarning::TooManyParts);
            break;
        }
        let parent = open[level].part;
        let fields = Fields::read(raw, at, limits, warnings, |line| self::delimiter(&open, line).is_some());
        let content = Content::read(&fields, parts[parent].content.is("multipart", "digest"));
        at = fields.body_at;
        let child = parts.len();
        parts[parent].children.push(child);
        leaf = add(&mut parts, &mut open, content, at, limits, warnings);
    }
    let end = if warnings.contains(&ParseWarning::TooManyParts) { at } else { raw.len() };
    for index in open.into_iter().map(|open| open.part).chain(leaf) {
        close(&mut parts, index, end);
    }
    parts
}

/// Adds a part whose body begins at `body_at`, opens it if it is a multipart, and gives its index if it is a leaf.
fn add(
    parts: &mut Vec<Part>,
    open: &mut Vec<Open>,
    content: Content,
    body_at: usize,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Option<usize> {
    let index = parts.len();
    let mut is_multipart = false;
    if content.main == "multipart" {
        match &content.boundary {
            None => {
                warnings.insert(ParseWarning::BrokenMultipart);
            }
            Some(_) if open.len() >= limits.part_depth => {
                warnings.insert(ParseWarning::TooDeep);
            }
            Some(boundary) => {
                is_multipart = true;
                open.push(Open { part: index, boundary: boundary.clone() });
            }
        }
    }
    parts.push(Part { content, body: body_at..body_at, children: Vec::new(), is_multipart });
    (!is_multipart).then_some(index)
}

fn close(parts: &mut [Part], index: usize, end: usize) {
    let body = &mut parts[index].body;
    body.end = end.max(body.start);
}

/// Which open multipart a line delimits, the innermost first (RFC 2046 section 5.1.1). A boundary is the whole line
/// but for white space behind it, so that `--ab` does not delimit `--a`.
fn delimiter(open: &[Open], line: &[u8]) -> Option<(usize, Delimiter)> {
    let rest = line.strip_prefix(b"--")?;
    open.iter().enumerate().rev().find_map(|(level, open)| {
        let after = rest.strip_prefix(open.boundary.as_slice())?.trim_ascii_end();
        match after {
            b"" => Some((level, Delimiter::Next)),
            _ if after.starts_with(b"--") => Some((level, Delimiter::Close)),
            _ => None,
        }
    })
}

/// The line end before a delimiter belongs to the delimiter.
fn before_line_end(raw: &[u8], at: usize) -> usize {
    let before = &raw[..at];
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}

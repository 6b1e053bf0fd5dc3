//! Tags found in HTML as browsers would find them, roughly: enough to leave them out and to know their names.

/// What begins with a `<`.
#[derive(Debug)]
pub(super) enum Tag<'h> {
    /// An element's start or end.
    Element { name: &'h str, attributes: &'h str, closing: bool, after: &'h str },
    /// A comment, a declaration, or a tag that the document ends in.
    Nothing { after: &'h str },
    /// Only the character.
    Text,
}

/// Reads what stands at the start of `rest`, which begins with `<`. What never ends takes the rest of the document,
/// so that no byte is looked at twice for it.
pub(super) fn next_tag(rest: &str) -> Tag<'_> {
    if let Some(comment) = rest.strip_prefix("<!--") {
        return Tag::Nothing { after: comment.split_once("-->").map_or("", |(_, after)| after) };
    }
    let inner = &rest[1..];
    if inner.starts_with(['!', '?']) {
        return Tag::Nothing { after: inner.split_once('>').map_or("", |(_, after)| after) };
    }
    let (closing, inner) = match inner.strip_prefix('/') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    if !inner.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return Tag::Text;
    }
    let name_end = inner
        .find(|letter: char| letter.is_ascii_whitespace() || matches!(letter, '>' | '/'))
        .unwrap_or(inner.len());
    let (name, inner) = inner.split_at(name_end);
    match tag_end(inner) {
        Some(end) => Tag::Element { name, attributes: &inner[..end], closing, after: &inner[end + 1..] },
        None => Tag::Nothing { after: "" },
    }
}

/// Where the `>` stands that is not in a quoted value.
fn tag_end(inner: &str) -> Option<usize> {
    let mut quote = None;
    let mut value_begins = false;
    for (at, byte) in inner.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            // A quotation mark quotes only at the start of a value.
            (None, b'"' | b'\'') if value_begins => quote = Some(byte),
            (Some(mark), _) if mark == byte => quote = None,
            _ => {}
        }
        value_begins = byte == b'=' || (value_begins && byte.is_ascii_whitespace());
    }
    None
}

/// What follows the end tag of an element whose content is not HTML.
pub(super) fn after_raw_text<'h>(rest: &'h str, name: &str) -> &'h str {
    let bytes = rest.as_bytes();
    let mut from = 0;
    while let Some(found) = rest[from..].find("</") {
        let at = from + found;
        let end = at + 2 + name.len();
        if bytes.get(at + 2..end).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())) {
            return &rest[at..];
        }
        from = at + 2;
    }
    ""
}

/// The value of an attribute, as written.
pub(super) fn attribute<'h>(attributes: &'h str, wanted: &str) -> Option<&'h str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '/');
        if rest.is_empty() {
            return None;
        }
        let ends = |letter: char| letter.is_ascii_whitespace() || letter == '=';
        // An attribute may begin with `=`, which is then of its name.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let name_end = rest[first..].find(ends).map_or(rest.len(), |end| end + first);
        let (name, after) = rest.split_at(name_end);
        let after = after.trim_ascii_start();
        let Some(value) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = match value.chars().next() {
            Some(mark @ ('"' | '\'')) => value[1..].split_once(mark).unwrap_or((&value[1..], "")),
            _ => {
                value.split_at(value.find(|letter: char| letter.is_ascii_whitespace()).unwrap_or(value.len()))
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

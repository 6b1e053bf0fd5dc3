//! The XML that servers answer with, as a small tree, and the escaping of what we say. Names are local names: a prefix means
//! nothing here, since every server chooses its own, and no two elements that matter differ by namespace alone.
//!
//! It must never resolve an entity, read a document type, or keep more than its bounds.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// How deep elements may stand inside one another. A restriction that comes back is the deepest that servers say.
const DEPTH: usize = 48;
/// How many elements an answer may have: 512 changes have some 10,000, and 10,000 folders some 100,000.
const ELEMENTS: usize = 250_000;
/// How many attributes an element may have.
const ATTRIBUTES: usize = 32;

/// An element with what stands in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// Reads a document, or a part of one: the first element with all that is in it. What is not well formed is described.
    pub(super) fn parse(xml: &[u8]) -> Result<Self, &'static str> {
        let xml = String::from_utf8_lossy(xml);
        let mut reader = Reader::from_str(xml.trim_start_matches('\u{feff}'));
        let mut open: Vec<Self> = Vec::new();
        let mut count = 0;
        loop {
            let closed = match reader.read_event().map_err(|_| "its XML is not well formed")? {
                Event::Start(start) => {
                    if open.len() >= DEPTH {
                        return Err("its XML is nested too deep");
                    }
                    open.push(Self::begin(&start, &mut count)?);
                    continue;
                }
                Event::Empty(start) => Self::begin(&start, &mut count)?,
                Event::End(_) => open.pop().ok_or("its XML is not well formed")?,
                Event::Text(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                    continue;
                }
                Event::CData(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let character = referred(&reference).ok_or("its XML uses an entity that XML has not")?;
                    if let Some(element) = open.last_mut() {
                        element.text.push(character);
                    }
                    continue;
                }
                Event::DocType(_) => return Err("its XML declares a document type, which is not read"),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
                Event::Eof => return Err("its XML ends too early"),
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None => return Ok(closed),
            }
        }
    }

    fn begin(start: &BytesStart<'_>, count: &mut usize) -> Result<Self, &'static str> {
        *count += 1;
        if *count > ELEMENTS {
            return Err("its XML has too many elements");
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| "its XML is not well formed")?;
            if attributes.len() == ATTRIBUTES {
                return Err("its XML has too many attributes");
            }
            let value = unescaped(&attribute.value).ok_or("its XML uses an entity that XML has not")?;
            attributes.push((local(attribute.key.as_ref()).to_owned(), value));
        }
        let name = local(start.name().as_ref()).to_owned();
        Ok(Self { name, attributes, ..Self::default() })
    }

    /// Its local name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An attribute, by its local name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text directly inside, without the blanks around it; none where there is none.
    pub(super) fn text(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    /// The elements directly inside.
    pub(super) fn children(&self) -> &[Self] {
        &self.children
    }

    /// The first element of this name directly inside.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of this name directly inside.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name)?.text()
    }

    /// A number, a time or a word of the first element of this name, where it can be read.
    pub(super) fn read<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text_of(name)?.parse().ok()
    }

    /// The first element of this name anywhere inside, this one included. Depth is bounded by [`Element::parse`].
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }
}

/// What follows the prefix.
pub(super) fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The character that a reference stands for, by its number or by one of XML's five names. Exchange refers to control
/// characters that XML cannot have: they become U+FFFD.
fn referred(reference: &str) -> Option<char> {
    Some(match reference {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        number => {
            let number = number.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            let character = char::from_u32(number.ok()?).unwrap_or(char::REPLACEMENT_CHARACTER);
            if is_xml(character) { character } else { char::REPLACEMENT_CHARACTER }
        }
    })
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (reference, after) = after.split_once(';')?;
        plain.push_str(before);
        plain.push(referred(reference)?);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

/// Text as it stands in an element or an attribute. What XML cannot say at all is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            character if is_xml(character) => escaped.push(character),
            _ => {}
        }
    }
    escaped
}

/// XML 1.0 section 2.2.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_order_comments_and_spaces_mean_nothing() {
        for xml in [
            r#"<t:Folder xmlns:t="x"><t:FolderId Id="a" ChangeKey="b"/><t:DisplayName>In &amp; out</t:DisplayName></t:Folder>"#,
            "<?xml version=\"1.0\"?>\n<!-- x --><Folder>\n <DisplayName> In <![CDATA[&]]> out\n</DisplayName><q:FolderId ChangeKey='b' q:Id='a'></q:FolderId></Folder>  ",
            "\u{feff}<F:Folder><DisplayName>In &#x26; out</DisplayName><FolderId Id=\"&#97;\" ChangeKey=\"b\"/></F:Folder>",
        ] {
            let folder = Element::parse(xml.as_bytes()).unwrap();
            assert_eq!(folder.name(), "Folder");
            assert_eq!(folder.text_of("DisplayName"), Some("In & out"), "{xml}");
            let id = folder.child("FolderId").unwrap();
            assert_eq!((id.attribute("Id"), id.attribute("ChangeKey")), (Some("a"), Some("b")), "{xml}");
        }
    }

    #[test]
    fn what_is_no_plain_xml_is_refused_with_a_reason() {
        let deep = "<a>".repeat(100_000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS + 1));
        let many = format!("<a {}/>", (0..100).map(|n| format!("a{n}='' ")).collect::<Vec<_>>().concat());
        for (xml, reason) in [
            ("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "document type"),
            ("<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/x.dtd\"><a/>", "document type"),
            ("<a>&x;</a>", "entity"),
            ("<a b=\"&x;\"/>", "entity"),
            ("<a>&#x110000;</a>", ""),
            ("<a><b></a></b>", "well formed"),
            ("<a><b>", "too early"),
            ("<a>text", "too early"),
            ("", "too early"),
            ("HTTP proxy error", "too early"),
            ("</a>", "well formed"),
            (&deep, "nested too deep"),
            (&wide, "too many elements"),
            (&many, "too many attributes"),
        ] {
            match Element::parse(xml.as_bytes()) {
                Err(why) => assert!(!reason.is_empty() && why.contains(reason), "{why}"),
                Ok(element) => assert_eq!((reason, element.text()), ("", Some("\u{fffd}"))),
            }
        }
    }

    #[test]
    fn characters_that_xml_cannot_have_become_replacements_when_read_and_nothing_when_said() {
        let element = Element::parse(b"<a>x&#x0;&#x1F;&#xD800;\xff y</a>").unwrap();
        assert_eq!(element.text(), Some("x\u{fffd}\u{fffd}\u{fffd}\u{fffd} y"));
        assert_eq!(escaped("a\0b\u{1f}c\u{ffff}d"), "abcd");
    }

    proptest! {
        #[test]
        fn what_is_said_is_read_back(text in "\\PC{0,40}[<>&\"'\\r\\n\\t]{0,5}\\PC{0,10}") {
            let xml = format!("<a b=\"{0}\">.{0}.</a>", escaped(&text));
            let element = Element::parse(xml.as_bytes()).unwrap();
            let said: String = text.chars().filter(|character| is_xml(*character)).collect();
            prop_assert_eq!(element.attribute("b"), Some(said.as_str()));
            let dotted = format!(".{said}.");
            prop_assert_eq!(element.text(), Some(dotted.as_str()));
        }

        #[test]
        fn no_bytes_make_it_fail(xml in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Element::parse(&xml);
        }

        #[test]
        fn nearly_xml_does_not_make_it_fail(xml in "[<>/!?\\[\\]&;#x'\"=a-cCDAT\\- ]{0,120}") {
            let _ = Element::parse(xml.as_bytes());
        }
    }
}

//! XML as a small tree: what a request says, and what an answer will say.
//!
//! It knows the namespaces that Exchange speaks in by name, and it never resolves an entity or reads a DTD.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

/// How deep a request may nest. Exchange's own limit for restrictions is far below.
const DEEPEST: usize = 100;

/// Where a name belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Space {
    /// SOAP 1.1's envelope.
    Soap,
    /// `…/exchange/services/2006/messages`.
    Messages,
    /// `…/exchange/services/2006/types`.
    Types,
    /// `…/exchange/services/2006/errors`.
    Errors,
    /// `…/exchange/2010/Autodiscover`.
    Autodiscover,
    /// WS-Addressing.
    Addressing,
    /// Everything else, and no namespace at all.
    None,
}

const SPACES: [(Space, &str, &str); 6] = [
    (Space::Soap, "s", "http://schemas.xmlsoap.org/soap/envelope/"),
    (Space::Messages, "m", "http://schemas.microsoft.com/exchange/services/2006/messages"),
    (Space::Types, "t", "http://schemas.microsoft.com/exchange/services/2006/types"),
    (Space::Errors, "e", "http://schemas.microsoft.com/exchange/services/2006/errors"),
    (Space::Autodiscover, "a", "http://schemas.microsoft.com/exchange/2010/Autodiscover"),
    (Space::Addressing, "w", "http://www.w3.org/2005/08/addressing"),
];

/// An element: a name, attributes, children and the text between them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Element {
    pub(crate) space: Space,
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn new(space: Space, name: impl Into<String>) -> Self {
        Self { space, name: name.into(), attributes: Vec::new(), children: Vec::new(), text: String::new() }
    }

    /// One of the namespace of types.
    pub(crate) fn t(name: impl Into<String>) -> Self {
        Self::new(Space::Types, name)
    }

    /// One of the namespace of messages.
    pub(crate) fn m(name: impl Into<String>) -> Self {
        Self::new(Space::Messages, name)
    }

    /// One of the namespace of types that holds text only.
    pub(crate) fn text(name: impl Into<String>, text: impl ToString) -> Self {
        Self::t(name).saying(text)
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are given alike")]
    pub(crate) fn saying(mut self, text: impl ToString) -> Self {
        self.text = text.to_string();
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are given alike")]
    pub(crate) fn attribute(mut self, name: &str, value: impl ToString) -> Self {
        self.attributes.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) fn with_all(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    /// The first child of that name, in whatever namespace.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The element at the end of a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }

    pub(crate) fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether an attribute says `true` or `1`.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.value(name).is_some_and(truth)
    }

    /// Reads a document.
    pub(crate) fn parse(document: &str) -> Result<Self, Malformed> {
        let mut reader = NsReader::from_str(document.trim_start_matches('\u{feff}'));
        let mut open: Vec<Self> = Vec::new();
        loop {
            let (space, event) =
                reader.read_resolved_event().map_err(|error| Malformed(error.to_string()))?;
            match event {
                Event::Start(start) => {
                    if open.len() >= DEEPEST {
                        return Err(Malformed(format!("it nests deeper than {DEEPEST} elements")));
                    }
                    open.push(begun(&space, &start)?);
                }
                Event::Empty(start) => {
                    let element = begun(&space, &start)?;
                    let Some(parent) = open.last_mut() else { return Ok(element) };
                    parent.children.push(element);
                }
                Event::End(_) => {
                    let Some(mut element) = open.pop() else { break };
                    if !element.children.is_empty() && element.text.trim().is_empty() {
                        element.text.clear();
                    }
                    let Some(parent) = open.last_mut() else { return Ok(element) };
                    parent.children.push(element);
                }
                Event::Text(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text.xml_content(XmlVersion::Implicit1_0));
                    }
                }
                Event::CData(text) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text.into_inner());
                    }
                }
                Event::GeneralRef(reference) => {
                    let element = open.last_mut().ok_or_else(|| Malformed("a stray reference".to_owned()))?;
                    let character = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character,
                        _ => predefined(&reference.into_inner())
                            .ok_or_else(|| Malformed("it names an entity".to_owned()))?,
                    };
                    element.text.push(character);
                }
                Event::DocType(_) => {
                    return Err(Malformed(
                        "For security reasons DTD is prohibited in this XML document.".to_owned(),
                    ));
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        Err(Malformed("it ends before its root does".to_owned()))
    }

    /// The document with its declaration.
    pub(crate) fn document(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>");
        self.write(&mut out, &mut Vec::new());
        out
    }

    fn write(&self, out: &mut String, declared: &mut Vec<Space>) {
        let before = declared.len();
        let place = SPACES.iter().find(|(space, ..)| *space == self.space);
        out.push('<');
        if let Some((_, prefix, _)) = place {
            let _ = write!(out, "{prefix}:");
        }
        out.push_str(&self.name);
        let mut declare = |space: Space, declared: &mut Vec<Space>| {
            let Some((_, prefix, name)) = SPACES.iter().find(|(one, ..)| *one == space) else { return };
            if !declared.contains(&space) {
                declared.push(space);
                let _ = write!(out, " xmlns:{prefix}=\"{name}\"");
            }
        };
        declare(self.space, declared);
        if self.space == Space::Messages {
            declare(Space::Types, declared);
        }
        for (name, value) in &self.attributes {
            let _ = write!(out, " {name}=\"");
            escape(value, true, out);
            out.push('"');
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>");
        } else {
            out.push('>');
            escape(&self.text, false, out);
            for child in &self.children {
                child.write(out, declared);
            }
            out.push_str("</");
            if let Some((_, prefix, _)) = place {
                let _ = write!(out, "{prefix}:");
            }
            let _ = write!(out, "{}>", self.name);
        }
        declared.truncate(before);
    }
}

/// Why a document could not be read.
#[derive(Debug)]
pub(crate) struct Malformed(pub(crate) String);

/// The two ways in which XML schemas spell true.
pub(crate) fn truth(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1")
}

fn begun(space: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<Element, Malformed> {
    let space = match space {
        ResolveResult::Bound(Namespace(name)) => {
            SPACES.iter().find(|(_, _, known)| known == name).map_or(Space::None, |(space, ..)| *space)
        }
        _ => Space::None,
    };
    let mut element = Element::new(space, start.local_name().into_inner());
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| Malformed(error.to_string()))?;
        let name = attribute.key.into_inner();
        if name == "xmlns" || name.starts_with("xmlns:") {
            continue;
        }
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| Malformed(error.to_string()))?;
        element.attributes.push((name, value.into_owned()));
    }
    Ok(element)
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// Writes text so that it comes back the same. What XML 1.0 cannot hold is left out.
fn escape(text: &str, in_attribute: bool, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if in_attribute => out.push_str("&quot;"),
            '\n' | '\t' if in_attribute => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            '\r' => out.push_str("&#xD;"),
            '\t' | '\n' => out.push(character),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let element = Element::m("GetItemResponse")
            .with(Element::text("Subject", "5 < 6 & \"so\"\r\non\u{1}"))
            .with(Element::t("ItemId").attribute("Id", "a\"b<c\n"));
        let read = Element::parse(&element.document()).unwrap();
        assert_eq!(read.child_text("Subject"), Some("5 < 6 & \"so\"\r\non"));
        assert_eq!(read.child("ItemId").unwrap().value("Id"), Some("a\"b<c\n"));
        assert_eq!(read.child("ItemId").unwrap().space, Space::Types);
    }

    #[test]
    fn a_document_type_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
        assert!(Element::parse(bomb).unwrap_err().0.contains("DTD is prohibited"));
        assert!(Element::parse("<a>&b;</a>").is_err());
        assert!(Element::parse("<a><b></a>").is_err());
        assert!(Element::parse(&"<a>".repeat(101)).unwrap_err().0.contains("deeper"));
    }
}

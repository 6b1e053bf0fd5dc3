//! Extended properties: MAPI properties that have no element of their own in the schema.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/extendedfielduri>

use crate::soap::Refusal;
use crate::xml::Element;
use serde::{Deserialize, Serialize};

/// Which property. Types are part of a value, not of a name; ids and tags are numbers whatever base they came in.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Key {
    Tag(u16),
    Named { set: String, name: String },
    Numbered { set: String, id: u32 },
}

/// A value, or several of an array type, as their texts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) kind: String,
    pub(crate) texts: Vec<String>,
}

/// The property sets that have a name of their own.
const SETS: [(&str, &str); 17] = [
    ("Address", "00062004-0000-0000-c000-000000000046"),
    ("AirSync", "71035549-0739-4dcb-9163-00f0580dbbdf"),
    ("Appointment", "00062002-0000-0000-c000-000000000046"),
    ("CalendarAssistant", "11000e07-b51b-40d6-af21-caa85edab1d0"),
    ("Common", "00062008-0000-0000-c000-000000000046"),
    ("InternetHeaders", "00020386-0000-0000-c000-000000000046"),
    ("Log", "0006200a-0000-0000-c000-000000000046"),
    ("Meeting", "6ed8da90-450b-101b-98da-00aa003f1305"),
    ("Messaging", "41f28f13-83f4-4114-a584-eedb5a6b0bff"),
    ("Note", "0006200e-0000-0000-c000-000000000046"),
    ("PostRss", "00062041-0000-0000-c000-000000000046"),
    ("PublicStrings", "00020329-0000-0000-c000-000000000046"),
    ("Remote", "00062014-0000-0000-c000-000000000046"),
    ("Report", "00062013-0000-0000-c000-000000000046"),
    ("Sharing", "00062040-0000-0000-c000-000000000046"),
    ("Task", "00062003-0000-0000-c000-000000000046"),
    ("UnifiedMessaging", "4442858e-a9e3-4e80-b900-317a210cc15b"),
];

impl Key {
    /// Reads an `ExtendedFieldURI`.
    pub(crate) fn parse(uri: &Element) -> Result<Self, Refusal> {
        let invalid = || {
            Refusal::of(
                "ErrorInvalidExtendedProperty",
                "Extended property is invalid. Must have a property set id or tag, a name or id, and a type.",
            )
        };
        if uri.value("PropertyType").is_none() {
            return Err(invalid());
        }
        if let Some(tag) = uri.value("PropertyTag") {
            let tag = number(tag).and_then(|tag| u16::try_from(tag).ok()).ok_or_else(invalid)?;
            return Ok(Self::Tag(tag));
        }
        let set = match (uri.value("DistinguishedPropertySetId"), uri.value("PropertySetId")) {
            (Some(name), None) => SETS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, id)| (*id).to_owned())
                .ok_or_else(invalid)?,
            (None, Some(id)) => id.trim_matches(['{', '}']).to_lowercase(),
            _ => return Err(invalid()),
        };
        match (uri.value("PropertyName"), uri.value("PropertyId")) {
            (Some(name), None) => Ok(Self::Named { set, name: name.to_owned() }),
            (None, Some(id)) => Ok(Self::Numbered { set, id: number(id).ok_or_else(invalid)? }),
            _ => Err(invalid()),
        }
    }

    fn uri(&self, kind: &str) -> Element {
        let uri = Element::t("ExtendedFieldURI");
        let place = |uri: Element, set: &str| match SETS.iter().find(|(_, id)| *id == set) {
            Some((name, _)) => uri.attribute("DistinguishedPropertySetId", name),
            None => uri.attribute("PropertySetId", set),
        };
        let uri = match self {
            Self::Tag(tag) => uri.attribute("PropertyTag", format!("0x{tag:x}")),
            Self::Named { set, name } => place(uri, set).attribute("PropertyName", name),
            Self::Numbered { set, id } => place(uri, set).attribute("PropertyId", id),
        };
        uri.attribute("PropertyType", kind)
    }
}

/// Reads an `ExtendedProperty` with its value.
pub(crate) fn parse(element: &Element) -> Result<(Key, Value), Refusal> {
    let invalid = || Refusal::of("ErrorInvalidExtendedPropertyValue", "Extended property value is invalid.");
    let uri = element.child("ExtendedFieldURI").ok_or_else(invalid)?;
    let key = Key::parse(uri)?;
    let kind = uri.value("PropertyType").unwrap_or_default().to_owned();
    let texts = match (element.child("Value"), element.child("Values")) {
        (Some(value), None) if !kind.ends_with("Array") => vec![value.text.clone()],
        (None, Some(values)) if kind.ends_with("Array") => {
            values.children.iter().map(|value| value.text.clone()).collect()
        }
        _ => return Err(invalid()),
    };
    Ok((key, Value { kind, texts }))
}

/// Writes an `ExtendedProperty`.
pub(crate) fn write(key: &Key, value: &Value) -> Element {
    let element = Element::t("ExtendedProperty").with(key.uri(&value.kind));
    if value.kind.ends_with("Array") {
        let values = value.texts.iter().map(|text| Element::text("Value", text));
        element.with(Element::t("Values").with_all(values))
    } else {
        element.with(Element::text("Value", value.texts.first().map_or("", String::as_str)))
    }
}

/// `0x3fde`, `0X3FDE` or `16350`.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_the_same_by_the_name_or_the_id_of_its_set() {
        let named = Element::t("ExtendedFieldURI")
            .attribute("DistinguishedPropertySetId", "PublicStrings")
            .attribute("PropertyName", "x")
            .attribute("PropertyType", "String");
        let identified = Element::t("ExtendedFieldURI")
            .attribute("PropertySetId", "00020329-0000-0000-C000-000000000046")
            .attribute("PropertyName", "x")
            .attribute("PropertyType", "String");
        assert_eq!(Key::parse(&named).unwrap(), Key::parse(&identified).unwrap());
        let tags = ["0x300b", "0x300B", "12299"].map(|tag| {
            let uri = Element::t("ExtendedFieldURI").attribute("PropertyTag", tag);
            Key::parse(&uri.attribute("PropertyType", "Binary")).unwrap()
        });
        assert_eq!(tags, [Key::Tag(0x300b), Key::Tag(0x300b), Key::Tag(0x300b)]);
        assert!(Key::parse(&Element::t("ExtendedFieldURI").attribute("PropertyTag", "0x300b")).is_err());
    }
}

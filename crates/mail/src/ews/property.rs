//! Extended properties: what the mailbox keeps beside the fields of the schema.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/extendedfielduri>

use super::xml::{Element, escaped};

/// The set that our own properties are in, so that they meet nobody else's.
const OURS: &str = "fdde4ea6-9be5-4bba-b33f-cb1fd988233a";

/// The properties that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    /// What stays the same when an item moves (MS-OXPROPS, `PidTagSearchKey`).
    SearchKey,
    /// Which of our sends an item is.
    SendId,
    /// Whose a mailbox is, on its inbox.
    OwnerMark,
}

impl Property {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::SearchKey => None,
            Self::SendId => Some("LockstepSend"),
            Self::OwnerMark => Some("LockstepOwner"),
        }
    }

    /// What names it in a shape, a restriction or a change.
    pub(super) fn uri(self) -> String {
        match self.name() {
            None => r#"<t:ExtendedFieldURI PropertyTag="0x300b" PropertyType="Binary"/>"#.to_owned(),
            Some(name) => format!(
                r#"<t:ExtendedFieldURI PropertySetId="{OURS}" PropertyName="{name}" PropertyType="String"/>"#
            ),
        }
    }

    /// The property with its value.
    pub(super) fn xml(self, value: &str) -> String {
        format!(
            "<t:ExtendedProperty>{}<t:Value>{}</t:Value></t:ExtendedProperty>",
            self.uri(),
            escaped(value)
        )
    }

    fn is(self, uri: &Element) -> bool {
        match self.name() {
            // Servers write the tag in hexadecimal of either case, or in decimal.
            None => uri
                .attribute("PropertyTag")
                .is_some_and(|tag| tag.eq_ignore_ascii_case("0x300b") || tag == "12299"),
            Some(name) => {
                uri.attribute("PropertyName") == Some(name)
                    && uri.attribute("PropertySetId").is_none_or(|set| set.eq_ignore_ascii_case(OURS))
            }
        }
    }
}

/// The value of a property that an item or a folder has.
pub(super) fn value(element: &Element, property: Property) -> Option<&str> {
    element
        .children()
        .iter()
        .filter(|child| child.name() == "ExtendedProperty")
        .find(|child| child.child("ExtendedFieldURI").is_some_and(|uri| property.is(uri)))?
        .text_of("Value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_found_however_the_server_names_it() {
        for (uri, property) in [
            (r#"PropertyTag="0x300B" PropertyType="Binary""#, Property::SearchKey),
            (r#"PropertyTag="12299" PropertyType="Binary""#, Property::SearchKey),
            (
                r#"PropertySetId="FDDE4EA6-9BE5-4BBA-B33F-CB1FD988233A" PropertyName="LockstepSend""#,
                Property::SendId,
            ),
            (r#"PropertyName="LockstepOwner""#, Property::OwnerMark),
        ] {
            let xml = format!(
                r#"<t:Message><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x1"/><t:Value>no</t:Value></t:ExtendedProperty><t:ExtendedProperty><t:Value>yes</t:Value><t:ExtendedFieldURI {uri}/></t:ExtendedProperty></t:Message>"#
            );
            let message = Element::parse(xml.as_bytes()).unwrap();
            assert_eq!(value(&message, property), Some("yes"), "{uri}");
        }
        let stranger = r#"<t:Message><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="00000000-0000-0000-0000-000000000000" PropertyName="LockstepSend"/><t:Value>no</t:Value></t:ExtendedProperty></t:Message>"#;
        assert_eq!(value(&Element::parse(stranger.as_bytes()).unwrap(), Property::SendId), None);
    }
}

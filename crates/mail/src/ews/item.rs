//! Items: how they are named in a request, and what is read of them.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/itemid>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::date;
use super::folder::{FolderId, change_key};
use super::property::{self, Property};
use super::xml::{Element, escaped};

/// The server's name for an item. It changes when the item moves to another folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ItemId {
    /// Case matters, and it may be some hundred characters long.
    pub id: String,
    /// Which state of it is meant. Sending and some changes need it; what is kept for long goes without.
    pub change_key: Option<String>,
}

/// What a server says of an item. Each field but the id may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name for the server.
    pub id: ItemId,
    /// The folder it is in.
    pub parent: Option<FolderId>,
    /// What it is: `IPM.Note`, `REPORT.IPM.Note.NDR`, `IPM.Schedule.Meeting.Request`.
    pub class: Option<String>,
    /// When the server got it.
    pub received: Option<Timestamp>,
    /// Its size in bytes, about: the server's store counts it otherwise than MIME does.
    pub size: Option<u64>,
    /// Its Message-ID, with the angle brackets.
    pub message_id: Option<String>,
    /// What stays the same when it moves.
    pub search_key: Option<Vec<u8>>,
    /// Which of our sends it is.
    pub send_id: Option<String>,
    /// Whether somebody has read it.
    pub read: Option<bool>,
}

impl ItemId {
    /// One without a state.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), change_key: None }
    }

    /// From `ItemId`.
    pub(super) fn read(element: &Element) -> Option<Self> {
        Some(Self {
            id: element.attribute("Id").filter(|id| !id.is_empty())?.to_owned(),
            change_key: element.attribute("ChangeKey").map(str::to_owned),
        })
    }

    pub(super) fn xml(&self) -> String {
        format!("<t:ItemId Id=\"{}\"{}/>", escaped(&self.id), change_key(self.change_key.as_deref()))
    }

    /// As a request names several.
    pub(super) fn list(ids: &[Self]) -> String {
        let ids: String = ids.iter().map(Self::xml).collect();
        format!("<m:ItemIds>{ids}</m:ItemIds>")
    }
}

impl Item {
    /// What is asked for of each item.
    pub(super) fn shape() -> String {
        format!(
            "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
             <t:FieldURI FieldURI=\"item:ParentFolderId\"/><t:FieldURI FieldURI=\"item:ItemClass\"/>\
             <t:FieldURI FieldURI=\"item:DateTimeReceived\"/><t:FieldURI FieldURI=\"item:Size\"/>\
             <t:FieldURI FieldURI=\"message:InternetMessageId\"/><t:FieldURI FieldURI=\"message:IsRead\"/>{}{}\
             </t:AdditionalProperties></m:ItemShape>",
            Property::SearchKey.uri(),
            Property::SendId.uri(),
        )
    }

    /// From `Message`, `MeetingRequest`, `Item` and the like.
    pub(super) fn read(element: &Element) -> Option<Self> {
        Some(Self {
            id: ItemId::read(element.child("ItemId")?)?,
            parent: element.child("ParentFolderId").and_then(FolderId::read),
            class: element.text_of("ItemClass").map(str::to_owned),
            received: element.text_of("DateTimeReceived").and_then(date::parse),
            size: element.read("Size"),
            message_id: element.text_of("InternetMessageId").map(str::to_owned),
            search_key: property::value(element, Property::SearchKey)
                .and_then(|key| BASE64_STANDARD.decode(key).ok()),
            send_id: property::value(element, Property::SendId).map(str::to_owned),
            read: element.text_of("IsRead").and_then(boolean),
        })
    }
}

/// `xs:boolean`, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_in_any_order_and_with_less() {
        let read = |xml: &str| Item::read(&Element::parse(xml.as_bytes()).unwrap());
        let item = read(
            r#"<t:Message xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><t:IsRead>false</t:IsRead><t:InternetMessageId>&lt;a@b&gt;</t:InternetMessageId><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x300b" PropertyType="Binary"/><t:Value>AQID</t:Value></t:ExtendedProperty><t:DateTimeReceived>2026-11-22T21:17:45Z</t:DateTimeReceived><t:Size>1234</t:Size><t:ItemClass>IPM.Note</t:ItemClass><t:ItemId Id="a" ChangeKey="b"/><t:ParentFolderId Id="f"/></t:Message>"#,
        )
        .unwrap();
        assert_eq!(
            item,
            Item {
                id: ItemId { id: "a".into(), change_key: Some("b".into()) },
                parent: Some(FolderId::new("f")),
                class: Some("IPM.Note".into()),
                received: Some("2026-11-22T21:17:45Z".parse().unwrap()),
                size: Some(1234),
                message_id: Some("<a@b>".into()),
                search_key: Some(vec![1, 2, 3]),
                send_id: None,
                read: Some(false),
            }
        );
        let bare = read(r#"<Item><ItemId Id="a"/><Size>x</Size><IsRead>maybe</IsRead></Item>"#).unwrap();
        assert_eq!((bare.size, bare.read, bare.received, bare.class), (None, None, None, None));
        assert_eq!(read("<Item><Size>1</Size></Item>"), None);
    }
}

//! `FindItem`: the items of a folder that have one thing in common.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/finditem-operation>

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::item::boolean;
use crate::ews::property::Property;
use crate::ews::xml::{Element, escaped};
use crate::ews::{FolderRef, Item, Session};

/// The most items that servers give at once with a restriction.
const MOST: u16 = 250;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// Its Message-ID, with the angle brackets.
    MessageId(String),
    /// Which of our sends it is.
    SendId(String),
    /// What stays the same when an item moves.
    SearchKey(Vec<u8>),
}

/// Some of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The items. Each has what was looked for, whatever the server makes of a restriction.
    pub items: Vec<Item>,
    /// Where the next page begins, if there is one.
    pub next: Option<u32>,
}

impl Session {
    /// Looks into one folder, from `offset` on, at most 250 items at once.
    pub async fn find_items(
        &mut self,
        folder: &FolderRef,
        search: &Search,
        offset: u32,
        most: u16,
    ) -> Result<Found, Error> {
        let body = request(&folder.xml(self.folders_of()), search, offset, most);
        let mut found = self.ask(Ask::reading(Phase::List, "FindItem", &body), read).await?;
        found.items.retain(|item| search.is_met_by(item));
        Ok(found)
    }
}

impl Search {
    fn uri(&self) -> String {
        match self {
            Self::MessageId(_) => r#"<t:FieldURI FieldURI="message:InternetMessageId"/>"#.to_owned(),
            Self::SendId(_) => Property::SendId.uri(),
            Self::SearchKey(_) => Property::SearchKey.uri(),
        }
    }

    fn value(&self) -> String {
        match self {
            Self::MessageId(value) | Self::SendId(value) => escaped(value),
            Self::SearchKey(key) => BASE64_STANDARD.encode(key),
        }
    }

    fn is_met_by(&self, item: &Item) -> bool {
        match self {
            Self::MessageId(value) => item.message_id.as_ref() == Some(value),
            Self::SendId(value) => item.send_id.as_ref() == Some(value),
            Self::SearchKey(key) => item.search_key.as_ref() == Some(key),
        }
    }
}

fn request(folder: &str, search: &Search, offset: u32, most: u16) -> String {
    format!(
        "<m:FindItem Traversal=\"Shallow\">{}\
         <m:IndexedPageItemView MaxEntriesReturned=\"{}\" Offset=\"{offset}\" BasePoint=\"Beginning\"/>\
         <m:Restriction><t:IsEqualTo>{}<t:FieldURIOrConstant><t:Constant Value=\"{}\"/></t:FieldURIOrConstant>\
         </t:IsEqualTo></m:Restriction><m:ParentFolderIds>{folder}</m:ParentFolderIds></m:FindItem>",
        Item::shape(),
        most.clamp(1, MOST),
        search.uri(),
        search.value(),
    )
}

fn read(response: &Element) -> Result<Found, Fault> {
    let root = only(response)?.child("RootFolder").ok_or(Fault::Broken("its answer has no items"))?;
    let items: Vec<_> = listed(root, "Items").iter().filter_map(Item::read).collect();
    let last = root.attribute("IncludesLastItemInRange").and_then(boolean).unwrap_or(items.is_empty());
    let next = root.attribute("IndexedPagingOffset").and_then(|offset| offset.parse().ok());
    Ok(Found { items, next: next.filter(|_| !last) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_looked_for_by_what_they_have() {
        let said = request(&FolderRef::Drafts.xml(None), &Search::SendId("7f".into()), 0, 10);
        assert!(
            said.ends_with(
                r#"</m:ItemShape><m:IndexedPageItemView MaxEntriesReturned="10" Offset="0" BasePoint="Beginning"/><m:Restriction><t:IsEqualTo><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/><t:FieldURIOrConstant><t:Constant Value="7f"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds><t:DistinguishedFolderId Id="drafts"/></m:ParentFolderIds></m:FindItem>"#
            ),
            "{said}"
        );
        let said = request("", &Search::MessageId("<a@b>".into()), 5, 9999);
        assert!(said.contains(r#"<t:FieldURI FieldURI="message:InternetMessageId"/><t:FieldURIOrConstant><t:Constant Value="&lt;a@b&gt;"/>"#), "{said}");
        assert!(said.contains(r#"MaxEntriesReturned="250" Offset="5""#), "{said}");
        let said = request("", &Search::SearchKey(vec![1, 2, 3]), 0, 1);
        assert!(said.contains(r#"<t:ExtendedFieldURI PropertyTag="0x300b" PropertyType="Binary"/><t:FieldURIOrConstant><t:Constant Value="AQID"/>"#), "{said}");
    }

    #[test]
    fn what_is_found_may_go_on() {
        let read = |attributes: &str| {
            let xml = format!(
                r#"<m:FindItemResponse><m:ResponseMessages><m:FindItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:RootFolder {attributes}><t:Items><t:Message><t:ItemId Id="a"/><t:InternetMessageId>&lt;a@b&gt;</t:InternetMessageId></t:Message></t:Items></m:RootFolder></m:FindItemResponseMessage></m:ResponseMessages></m:FindItemResponse>"#
            );
            read(&Element::parse(xml.as_bytes()).unwrap()).unwrap()
        };
        let found = read(r#"IndexedPagingOffset="10" TotalItemsInView="20" IncludesLastItemInRange="false""#);
        assert_eq!((found.items.len(), found.next), (1, Some(10)));
        assert_eq!(read(r#"IndexedPagingOffset="1" IncludesLastItemInRange="true""#).next, None);
        assert_eq!(read("").next, None);
        assert!(Search::MessageId("<a@b>".into()).is_met_by(&found.items[0]));
        // A server that makes nothing of a restriction finds everything.
        assert!(!Search::SendId("7f".into()).is_met_by(&found.items[0]));
    }
}

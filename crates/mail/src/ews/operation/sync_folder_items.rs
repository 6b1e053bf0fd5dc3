//! `SyncFolderItems`: what changed in a folder since the last time, page by page. Ids and what decides whether an item is
//! wanted, never content.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/syncfolderitems-operation>

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::item::boolean;
use crate::ews::xml::{Element, escaped};
use crate::ews::{FolderRef, Item, ItemId, Session};

/// The most changes that servers give at once.
const MOST: u16 = 512;

/// Some of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPage {
    /// What the next page is asked for with. It is the server's, some thousand characters long, and means nothing to others.
    pub state: String,
    /// Nothing more has changed by now.
    pub last: bool,
    /// The changes, in the server's order. The same may come twice.
    pub changes: Vec<ItemChange>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemChange {
    /// It came into the folder, or was there when synchronization began.
    Created(Item),
    /// Something of it is different.
    Updated(Item),
    /// It left the folder: deleted, or moved to another one.
    Deleted(ItemId),
    /// It was read, or marked as not read.
    ReadFlag {
        /// Which.
        id: ItemId,
        /// Which of the two.
        read: bool,
    },
}

impl Session {
    /// What changed since `state`; without one, everything there is. At most `most` changes, of 1 to 512. A state that the
    /// server does not know any more is [`Kind::SyncStateInvalid`](crate::error::Kind::SyncStateInvalid).
    pub async fn sync_folder_items(
        &mut self,
        folder: &FolderRef,
        state: Option<&str>,
        most: u16,
    ) -> Result<ItemPage, Error> {
        let body = request(&folder.xml(self.folders_of()), state, most);
        self.ask(Ask::reading(Phase::List, "SyncFolderItems", &body), read).await
    }
}

fn request(folder: &str, state: Option<&str>, most: u16) -> String {
    let state =
        state.map(|state| format!("<m:SyncState>{}</m:SyncState>", escaped(state))).unwrap_or_default();
    format!(
        "<m:SyncFolderItems>{}<m:SyncFolderId>{folder}</m:SyncFolderId>{state}\
         <m:MaxChangesReturned>{}</m:MaxChangesReturned></m:SyncFolderItems>",
        Item::shape(),
        most.clamp(1, MOST),
    )
}

fn read(response: &Element) -> Result<ItemPage, Fault> {
    let message = only(response)?;
    let state =
        message.text_of("SyncState").ok_or(Fault::Broken("its answer has no synchronization state"))?;
    let changes: Vec<_> = listed(message, "Changes").iter().filter_map(change).collect();
    // Who does not say whether there is more has no more when nothing came.
    let last = message.text_of("IncludesLastItemInRange").and_then(boolean).unwrap_or(changes.is_empty());
    Ok(ItemPage { state: state.to_owned(), last, changes })
}

/// What cannot be read, or is of a kind that is not known, is passed over.
fn change(change: &Element) -> Option<ItemChange> {
    let item = || change.children().iter().find_map(Item::read);
    let id = || ItemId::read(change.child("ItemId")?);
    Some(match change.name() {
        "Create" => ItemChange::Created(item()?),
        "Update" => ItemChange::Updated(item()?),
        "Delete" => ItemChange::Deleted(id()?),
        "ReadFlagChange" => {
            ItemChange::ReadFlag { id: id()?, read: change.text_of("IsRead").and_then(boolean)? }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for() {
        assert_eq!(
            request(&FolderRef::Inbox.xml(None), Some("H4sI=&"), 600),
            r#"<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="item:ParentFolderId"/><t:FieldURI FieldURI="item:ItemClass"/><t:FieldURI FieldURI="item:DateTimeReceived"/><t:FieldURI FieldURI="item:Size"/><t:FieldURI FieldURI="message:InternetMessageId"/><t:FieldURI FieldURI="message:IsRead"/><t:ExtendedFieldURI PropertyTag="0x300b" PropertyType="Binary"/><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/></t:AdditionalProperties></m:ItemShape><m:SyncFolderId><t:DistinguishedFolderId Id="inbox"/></m:SyncFolderId><m:SyncState>H4sI=&amp;</m:SyncState><m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>"#
        );
        assert!(!request("", None, 0).contains("SyncState"));
        assert!(request("", None, 0).contains("<m:MaxChangesReturned>1<"));
    }

    #[test]
    fn changes_are_read_in_their_order() {
        let answer = r#"<m:SyncFolderItemsResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages><m:SyncFolderItemsResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:SyncState>H4sIAAA=</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes><t:Create><t:Message><t:ItemId Id="AA1" ChangeKey="CQ1"/><t:ItemClass>IPM.Note</t:ItemClass><t:Size>2048</t:Size><t:DateTimeReceived>2026-11-22T21:17:45Z</t:DateTimeReceived></t:Message></t:Create><t:Update><t:MeetingRequest><t:ItemId Id="AA2" ChangeKey="CQ2"/><t:ItemClass>IPM.Schedule.Meeting.Request</t:ItemClass></t:MeetingRequest></t:Update><t:Delete><t:ItemId Id="AA3" ChangeKey="CQ3"/></t:Delete><t:ReadFlagChange><t:ItemId Id="AA4" ChangeKey="CQ4"/><t:IsRead>true</t:IsRead></t:ReadFlagChange><t:Invented><t:ItemId Id="AA5"/></t:Invented></m:Changes></m:SyncFolderItemsResponseMessage></m:ResponseMessages></m:SyncFolderItemsResponse>"#;
        let page = read(&Element::parse(answer.as_bytes()).unwrap()).unwrap();
        assert_eq!((page.state.as_str(), page.last, page.changes.len()), ("H4sIAAA=", false, 4));
        let ItemChange::Created(item) = &page.changes[0] else { panic!("{:?}", page.changes) };
        assert_eq!(
            (item.id.id.as_str(), item.size, item.class.as_deref()),
            ("AA1", Some(2048), Some("IPM.Note"))
        );
        assert!(matches!(&page.changes[1], ItemChange::Updated(item) if item.id.id == "AA2"));
        assert!(matches!(&page.changes[2], ItemChange::Deleted(id) if id.id == "AA3"));
        assert!(matches!(&page.changes[3], ItemChange::ReadFlag { id, read: true } if id.id == "AA4"));
    }

    #[test]
    fn a_lost_state_and_an_answer_without_one_are_told_apart() {
        let read = |inside: &str| {
            let xml = format!("<R><ResponseMessages><M {inside}</M></ResponseMessages></R>");
            read(&Element::parse(xml.as_bytes()).unwrap())
        };
        let lost = read(
            r#"ResponseClass="Error"><MessageText>Synchronization state data is corrupt or otherwise invalid.</MessageText><ResponseCode>ErrorInvalidSyncStateData</ResponseCode>"#,
        );
        assert!(matches!(lost, Err(Fault::Refused(said)) if said.code == "ErrorInvalidSyncStateData"));
        assert!(matches!(read(r#"ResponseClass="Success">"#), Err(Fault::Broken(_))));
        let page = read("><SyncState>x</SyncState>").unwrap();
        assert!(page.last && page.changes.is_empty());
    }
}

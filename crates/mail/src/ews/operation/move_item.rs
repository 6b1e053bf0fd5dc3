//! `MoveItem`: an item into another folder, where it gets another id.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/moveitem-operation>

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::xml::Element;
use crate::ews::{FolderRef, ItemId, Session};

impl Session {
    /// Moves an item. Its new id, where the server says it.
    pub async fn move_item(&mut self, id: &ItemId, to: &FolderRef) -> Result<Option<ItemId>, Error> {
        let body = request(id, &to.xml(self.folders_of()));
        self.ask(Ask::changing(Phase::Change, "MoveItem", &body), read).await
    }
}

fn request(id: &ItemId, to: &str) -> String {
    let ids = ItemId::list(std::slice::from_ref(id));
    format!("<m:MoveItem><m:ToFolderId>{to}</m:ToFolderId>{ids}</m:MoveItem>")
}

fn read(response: &Element) -> Result<Option<ItemId>, Fault> {
    let item = listed(only(response)?, "Items").first();
    Ok(item.and_then(|item| ItemId::read(item.child("ItemId")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_moved() {
        assert_eq!(
            request(&ItemId::new("a"), &FolderRef::JunkEmail.xml(None)),
            r#"<m:MoveItem><m:ToFolderId><t:DistinguishedFolderId Id="junkemail"/></m:ToFolderId><m:ItemIds><t:ItemId Id="a"/></m:ItemIds></m:MoveItem>"#
        );
        let read = |items: &str| {
            let xml = format!(
                r#"<m:MoveItemResponse><m:ResponseMessages><m:MoveItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>{items}</m:MoveItemResponseMessage></m:ResponseMessages></m:MoveItemResponse>"#
            );
            read(&Element::parse(xml.as_bytes()).unwrap()).unwrap()
        };
        assert_eq!(
            read(r#"<m:Items><t:Message><t:ItemId Id="b"/></t:Message></m:Items>"#),
            Some(ItemId::new("b"))
        );
        assert_eq!(read("<m:Items/>"), None);
    }
}

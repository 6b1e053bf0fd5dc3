//! `DeleteItem`: an item away, more or less for good.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/deleteitem-operation>

use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::{ItemId, Session};

/// How an item is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Its owner finds it among the deleted items.
    ToDeletedItems,
    /// Its owner can have it recovered, for as long as the server keeps it.
    Soft,
    /// For good.
    Hard,
}

impl Session {
    /// Deletes an item.
    pub async fn delete_item(&mut self, id: &ItemId, how: Deletion) -> Result<(), Error> {
        let body = request(id, how);
        let ask = Ask::changing(Phase::Change, "DeleteItem", &body);
        self.ask(ask, |response| only(response).map(drop)).await
    }
}

fn request(id: &ItemId, how: Deletion) -> String {
    let how = match how {
        Deletion::ToDeletedItems => "MoveToDeletedItems",
        Deletion::Soft => "SoftDelete",
        Deletion::Hard => "HardDelete",
    };
    let ids = ItemId::list(std::slice::from_ref(id));
    format!("<m:DeleteItem DeleteType=\"{how}\">{ids}</m:DeleteItem>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_deleted() {
        assert_eq!(
            request(&ItemId::new("a"), Deletion::Hard),
            r#"<m:DeleteItem DeleteType="HardDelete"><m:ItemIds><t:ItemId Id="a"/></m:ItemIds></m:DeleteItem>"#
        );
    }
}

//! `GetItem`: what a server says of items whose ids are known.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/getitem-operation-email-message>

use model::address::normalize;

use super::listed;
use crate::error::{Error, Kind, Phase};
use crate::ews::answer::{messages, only};
use crate::ews::ask::Ask;
use crate::ews::code::{Fault, Said};
use crate::ews::xml::Element;
use crate::ews::{Item, ItemId, Session};

impl Session {
    /// Everything of [`Item`], each in the place of its id, or why there is nothing.
    pub async fn get_item_facts(&mut self, ids: &[ItemId]) -> Result<Vec<Result<Item, Error>>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let body = request(&Item::shape(), ids);
        let told =
            self.ask(Ask::reading(Phase::Fetch, "GetItem", &body), |response| Ok(read(response))).await?;
        if told.len() != ids.len() {
            return Err(self.error(Phase::Fetch, Kind::Violation("its answer lacks an item")));
        }
        Ok(told
            .into_iter()
            .map(|told| match told {
                Ok(Some(item)) => Ok(item),
                Ok(None) => Err(self.error(Phase::Fetch, Kind::NotFound)),
                Err(said) => Err(self.refusal(Phase::Fetch, &said)),
            })
            .collect())
    }

    /// The item as it is now: with the change key that sending asks for.
    pub(super) async fn current(&mut self, id: &ItemId) -> Result<ItemId, Error> {
        if id.change_key.is_some() {
            return Ok(id.clone());
        }
        match self.get_item_facts(std::slice::from_ref(id)).await?.pop() {
            Some(item) => item.map(|item| item.id),
            None => Err(self.error(Phase::Fetch, Kind::NotFound)),
        }
    }

    /// Who gets blind copies of an item, in their normal form.
    pub(super) async fn blind_copies(&mut self, id: &ItemId) -> Result<Vec<String>, Error> {
        let body = request(BCC_SHAPE, std::slice::from_ref(id));
        self.ask(Ask::reading(Phase::Fetch, "GetItem", &body), read_bcc).await
    }
}

const BCC_SHAPE: &str = "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
     <t:FieldURI FieldURI=\"message:BccRecipients\"/></t:AdditionalProperties></m:ItemShape>";

fn request(shape: &str, ids: &[ItemId]) -> String {
    format!("<m:GetItem>{shape}{}</m:GetItem>", ItemId::list(ids))
}

fn read(response: &Element) -> Vec<Result<Option<Item>, Said>> {
    messages(response)
        .map(|message| message.map(|message| listed(message, "Items").iter().find_map(Item::read)))
        .collect()
}

fn read_bcc(response: &Element) -> Result<Vec<String>, Fault> {
    let item = listed(only(response)?, "Items").first();
    let mailboxes = item.and_then(|item| item.child("BccRecipients")).map(Element::children);
    Ok(mailboxes
        .unwrap_or_default()
        .iter()
        .filter_map(|mailbox| mailbox.text_of("EmailAddress"))
        .map(normalize)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_asked_for_and_read_item_by_item() {
        let said = request(&Item::shape(), &[ItemId::new("a"), ItemId::new("b")]);
        assert!(
            said.ends_with(
                r#"</m:ItemShape><m:ItemIds><t:ItemId Id="a"/><t:ItemId Id="b"/></m:ItemIds></m:GetItem>"#
            ),
            "{said}"
        );
        let answer = r#"<m:GetItemResponse><m:ResponseMessages><m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:ItemId Id="a" ChangeKey="k"/><t:InternetMessageId>&lt;x@y&gt;</t:InternetMessageId></t:Message></m:Items></m:GetItemResponseMessage><m:GetItemResponseMessage ResponseClass="Error"><m:MessageText>The specified object was not found in the store.</m:MessageText><m:ResponseCode>ErrorItemNotFound</m:ResponseCode><m:Items/></m:GetItemResponseMessage></m:ResponseMessages></m:GetItemResponse>"#;
        let told = read(&Element::parse(answer.as_bytes()).unwrap());
        let [Ok(Some(item)), Err(said)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(item.message_id.as_deref(), Some("<x@y>"));
        assert_eq!(said.code, "ErrorItemNotFound");
    }

    #[test]
    fn blind_copies_are_read_back() {
        let answer = r#"<m:GetItemResponse><m:ResponseMessages><m:GetItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:ItemId Id="a"/><t:BccRecipients><t:Mailbox><t:Name>Eve</t:Name><t:EmailAddress>Eve@Example.com</t:EmailAddress></t:Mailbox></t:BccRecipients></t:Message></m:Items></m:GetItemResponseMessage></m:ResponseMessages></m:GetItemResponse>"#;
        assert_eq!(read_bcc(&Element::parse(answer.as_bytes()).unwrap()).unwrap(), ["eve@example.com"]);
    }
}

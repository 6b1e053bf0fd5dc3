//! `UpdateItem`: our own property of an item, and who gets blind copies of a draft.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/updateitem-operation>

use model::address::EmailAddress;

use super::create_item::blind_copies;
use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::property::Property;
use crate::ews::xml::Element;
use crate::ews::{ItemId, Session};

impl Session {
    /// Says which of our sends an item is. The item as it is after that.
    pub async fn update_send_id(&mut self, id: &ItemId, send_id: &str) -> Result<ItemId, Error> {
        let body = request(id, &Property::SendId.uri(), &Property::SendId.xml(send_id));
        self.update(id, &body).await
    }

    /// Says who gets blind copies of a draft.
    pub(super) async fn update_blind_copies(
        &mut self,
        id: &ItemId,
        bcc: &[EmailAddress],
    ) -> Result<ItemId, Error> {
        let uri = "<t:FieldURI FieldURI=\"message:BccRecipients\"/>";
        let body = request(id, uri, &blind_copies(bcc));
        self.update(id, &body).await
    }

    async fn update(&mut self, id: &ItemId, body: &str) -> Result<ItemId, Error> {
        let updated = self.ask(Ask::changing(Phase::Change, "UpdateItem", body), read).await?;
        Ok(updated.unwrap_or_else(|| ItemId::new(id.id.clone())))
    }
}

fn request(id: &ItemId, uri: &str, value: &str) -> String {
    format!(
        "<m:UpdateItem MessageDisposition=\"SaveOnly\" ConflictResolution=\"AlwaysOverwrite\"><m:ItemChanges>\
         <t:ItemChange>{}<t:Updates><t:SetItemField>{uri}<t:Message>{value}</t:Message></t:SetItemField>\
         </t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>",
        id.xml()
    )
}

fn read(response: &Element) -> Result<Option<ItemId>, Fault> {
    let item = listed(only(response)?, "Items").first();
    Ok(item.and_then(|item| ItemId::read(item.child("ItemId")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_and_the_blind_copies_are_set() {
        let id = ItemId { id: "a".into(), change_key: Some("k".into()) };
        assert_eq!(
            request(&id, &Property::SendId.uri(), &Property::SendId.xml("7f")),
            r#"<m:UpdateItem MessageDisposition="SaveOnly" ConflictResolution="AlwaysOverwrite"><m:ItemChanges><t:ItemChange><t:ItemId Id="a" ChangeKey="k"/><t:Updates><t:SetItemField><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/><t:Message><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/><t:Value>7f</t:Value></t:ExtendedProperty></t:Message></t:SetItemField></t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>"#
        );
        let answer = r#"<m:UpdateItemResponse><m:ResponseMessages><m:UpdateItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:ItemId Id="a" ChangeKey="l"/></t:Message></m:Items><m:ConflictResults><t:Count>0</t:Count></m:ConflictResults></m:UpdateItemResponseMessage></m:ResponseMessages></m:UpdateItemResponse>"#;
        let updated = read(&Element::parse(answer.as_bytes()).unwrap()).unwrap().unwrap();
        assert_eq!(updated.change_key.as_deref(), Some("l"));
    }
}

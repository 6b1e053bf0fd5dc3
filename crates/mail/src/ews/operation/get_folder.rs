//! `GetFolder`: a folder's id, name and counts.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/getfolder-operation>

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::xml::Element;
use crate::ews::{Folder, FolderRef, OwnerMark, Session};

impl Session {
    /// What the server says of a folder. The cheapest question there is: whoever gets an answer may read the mailbox.
    pub async fn get_folder(&mut self, folder: &FolderRef) -> Result<Folder, Error> {
        let body = request(&folder.xml(self.folders_of()));
        self.ask(Ask::reading(Phase::List, "GetFolder", &body), read).await
    }

    /// Whose the mailbox is, where a Lockstep has marked its inbox.
    pub async fn owner_mark(&mut self) -> Result<Option<OwnerMark>, Error> {
        Ok(self.get_folder(&FolderRef::Inbox).await?.owner_mark)
    }
}

fn request(folder: &str) -> String {
    format!("<m:GetFolder>{}<m:FolderIds>{folder}</m:FolderIds></m:GetFolder>", Folder::shape())
}

fn read(response: &Element) -> Result<Folder, Fault> {
    let folder = listed(only(response)?, "Folders").first();
    folder.and_then(Folder::read).ok_or(Fault::Broken("its answer has no folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_asked_for_and_read() {
        assert_eq!(
            request(&FolderRef::Inbox.xml(None)),
            r#"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI="folder:DisplayName"/><t:FieldURI FieldURI="folder:FolderClass"/><t:FieldURI FieldURI="folder:ParentFolderId"/><t:FieldURI FieldURI="folder:TotalCount"/><t:FieldURI FieldURI="folder:UnreadCount"/><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepOwner" PropertyType="String"/></t:AdditionalProperties></m:FolderShape><m:FolderIds><t:DistinguishedFolderId Id="inbox"/></m:FolderIds></m:GetFolder>"#
        );
        let answer = r#"<m:GetFolderResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages><m:GetFolderResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:Folder><t:FolderId Id="AQApAH" ChangeKey="AQAAABYA"/><t:ParentFolderId Id="AQApRO" ChangeKey="AQAA"/><t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>Inbox</t:DisplayName><t:TotalCount>37</t:TotalCount><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepOwner" PropertyType="String"/><t:Value>one/two</t:Value></t:ExtendedProperty><t:UnreadCount>3</t:UnreadCount></t:Folder></m:Folders></m:GetFolderResponseMessage></m:ResponseMessages></m:GetFolderResponse>"#;
        let folder = read(&Element::parse(answer.as_bytes()).unwrap()).unwrap();
        assert_eq!((folder.id.id.as_str(), folder.name.as_str()), ("AQApAH", "Inbox"));
        assert_eq!(
            (folder.total, folder.unread, folder.class.as_deref()),
            (Some(37), Some(3), Some("IPF.Note"))
        );
        assert_eq!(folder.parent.unwrap().id, "AQApRO");
        let mark = OwnerMark { installation: "one".into(), organization: "two".into() };
        assert_eq!(folder.owner_mark, Some(mark));
    }

    #[test]
    fn a_refusal_is_the_servers_and_an_empty_answer_is_none() {
        let read = |xml: &str| read(&Element::parse(xml.as_bytes()).unwrap());
        let refused = read(
            r#"<m:GetFolderResponse><m:ResponseMessages><m:GetFolderResponseMessage ResponseClass="Error"><m:MessageText>The specified folder could not be found in the store.</m:MessageText><m:ResponseCode>ErrorFolderNotFound</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey><m:Folders/></m:GetFolderResponseMessage></m:ResponseMessages></m:GetFolderResponse>"#,
        );
        assert!(matches!(refused, Err(Fault::Refused(said)) if said.code == "ErrorFolderNotFound"));
        assert!(matches!(
            read("<m:GetFolderResponse><m:ResponseMessages/></m:GetFolderResponse>"),
            Err(Fault::Broken(_))
        ));
        assert!(matches!(read("<m:GetFolderResponse/>"), Err(Fault::Broken(_))));
    }
}

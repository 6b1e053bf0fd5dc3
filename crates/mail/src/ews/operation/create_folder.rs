//! `CreateFolder`: a folder for mail inside another one.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/createfolder-operation>

use super::listed;
use crate::error::{Error, Kind, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::xml::{Element, escaped};
use crate::ews::{FolderId, FolderRef, Session};

impl Session {
    /// Makes a folder of this name, or finds the one that is there already.
    pub async fn create_folder(&mut self, parent: &FolderRef, name: &str) -> Result<FolderId, Error> {
        self.make_folder(parent, name, "").await
    }

    /// The same, and mail programs do not show it (MS-OXPROPS, `PidTagAttributeHidden`).
    pub async fn create_hidden_folder(&mut self, parent: &FolderRef, name: &str) -> Result<FolderId, Error> {
        self.make_folder(parent, name, HIDDEN).await
    }

    async fn make_folder(
        &mut self,
        parent: &FolderRef,
        name: &str,
        property: &str,
    ) -> Result<FolderId, Error> {
        let body = request(&parent.xml(self.folders_of()), name, property);
        let made = self.ask(Ask::changing(Phase::Change, "CreateFolder", &body), read).await;
        match made {
            Err(error) if error.code() == Some("ErrorFolderExists") => {
                let found = self.find_folder(parent, name).await?;
                found.ok_or_else(|| self.error(Phase::Change, Kind::NotFound))
            }
            made => made,
        }
    }
}

const HIDDEN: &str = "<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0x10f4\" PropertyType=\"Boolean\"/>\
                      <t:Value>true</t:Value></t:ExtendedProperty>";

fn request(parent: &str, name: &str, property: &str) -> String {
    format!(
        "<m:CreateFolder><m:ParentFolderId>{parent}</m:ParentFolderId><m:Folders><t:Folder>\
         <t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>{}</t:DisplayName>{property}</t:Folder></m:Folders>\
         </m:CreateFolder>",
        escaped(name)
    )
}

fn read(response: &Element) -> Result<FolderId, Fault> {
    let folder = listed(only(response)?, "Folders").first();
    let id = folder.and_then(|folder| FolderId::read(folder.child("FolderId")?));
    id.ok_or(Fault::Broken("its answer has no folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made() {
        assert_eq!(
            request(&FolderRef::Root.xml(None), "Undeliverable & co", ""),
            r#"<m:CreateFolder><m:ParentFolderId><t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderId><m:Folders><t:Folder><t:FolderClass>IPF.Note</t:FolderClass><t:DisplayName>Undeliverable &amp; co</t:DisplayName></t:Folder></m:Folders></m:CreateFolder>"#
        );
        let hidden = request(&FolderRef::Root.xml(None), "Away", HIDDEN);
        assert!(
            hidden.contains(
                r#"<t:DisplayName>Away</t:DisplayName><t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="0x10f4" PropertyType="Boolean"/><t:Value>true</t:Value></t:ExtendedProperty></t:Folder>"#
            ),
            "{hidden}"
        );
        let answer = r#"<m:CreateFolderResponse><m:ResponseMessages><m:CreateFolderResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:Folder><t:FolderId Id="AQ" ChangeKey="AA"/></t:Folder></m:Folders></m:CreateFolderResponseMessage></m:ResponseMessages></m:CreateFolderResponse>"#;
        assert_eq!(read(&Element::parse(answer.as_bytes()).unwrap()).unwrap().id, "AQ");
    }
}

//! `FindFolder`: a folder by its name.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/findfolder-operation>

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::xml::{Element, escaped};
use crate::ews::{Folder, FolderId, FolderRef, Session};

impl Session {
    /// The folder of this name directly inside another one. Case does not matter, as it does not to Exchange.
    pub async fn find_folder(&mut self, parent: &FolderRef, name: &str) -> Result<Option<FolderId>, Error> {
        let body = request(&parent.xml(self.folders_of()), name);
        let found = self.ask(Ask::reading(Phase::List, "FindFolder", &body), read).await?;
        // A server that does not know restrictions gives all of them.
        let wanted = name.to_lowercase();
        Ok(found.into_iter().find(|folder| folder.name.to_lowercase() == wanted).map(|folder| folder.id))
    }
}

fn request(parent: &str, name: &str) -> String {
    format!(
        "<m:FindFolder Traversal=\"Shallow\">{}<m:Restriction><t:IsEqualTo>\
         <t:FieldURI FieldURI=\"folder:DisplayName\"/><t:FieldURIOrConstant><t:Constant Value=\"{}\"/>\
         </t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds>{parent}</m:ParentFolderIds>\
         </m:FindFolder>",
        Folder::shape(),
        escaped(name),
    )
}

fn read(response: &Element) -> Result<Vec<Folder>, Fault> {
    let root = only(response)?.child("RootFolder").ok_or(Fault::Broken("its answer has no folders"))?;
    Ok(listed(root, "Folders").iter().filter_map(Folder::read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_looked_for() {
        let said = request(&FolderRef::Root.xml(None), "A\"B");
        assert!(
            said.ends_with(
                r#"<m:Restriction><t:IsEqualTo><t:FieldURI FieldURI="folder:DisplayName"/><t:FieldURIOrConstant><t:Constant Value="A&quot;B"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds><t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderIds></m:FindFolder>"#
            ),
            "{said}"
        );
        let answer = r#"<m:FindFolderResponse><m:ResponseMessages><m:FindFolderResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:RootFolder TotalItemsInView="1" IncludesLastItemInRange="true"><t:Folders><t:Folder><t:FolderId Id="f"/><t:DisplayName>Lost</t:DisplayName></t:Folder></t:Folders></m:RootFolder></m:FindFolderResponseMessage></m:ResponseMessages></m:FindFolderResponse>"#;
        assert_eq!(read(&Element::parse(answer.as_bytes()).unwrap()).unwrap()[0].name, "Lost");
    }
}

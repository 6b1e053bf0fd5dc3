//! `UpdateFolder`: the mark on the inbox that says whose a mailbox is. It stands where whoever reads the mailbox reads
//! anyway, and is lost with the mailbox.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/updatefolder-operation>

use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::property::Property;
use crate::ews::{FolderRef, OwnerMark, Session};

impl Session {
    /// Marks the mailbox, or takes the mark away. Whose it was before is for the caller to have looked at.
    pub async fn set_owner_mark(&mut self, mark: Option<&OwnerMark>) -> Result<(), Error> {
        let body = request(&FolderRef::Inbox.xml(self.folders_of()), mark);
        let ask = Ask::changing(Phase::Change, "UpdateFolder", &body);
        self.ask(ask, |response| only(response).map(drop)).await
    }
}

fn request(folder: &str, mark: Option<&OwnerMark>) -> String {
    let uri = Property::OwnerMark.uri();
    let change = match mark {
        Some(mark) => format!(
            "<t:SetFolderField>{uri}<t:Folder>{}</t:Folder></t:SetFolderField>",
            Property::OwnerMark.xml(&mark.value())
        ),
        None => format!("<t:DeleteFolderField>{uri}</t:DeleteFolderField>"),
    };
    format!(
        "<m:UpdateFolder><m:FolderChanges><t:FolderChange>{folder}<t:Updates>{change}</t:Updates>\
         </t:FolderChange></m:FolderChanges></m:UpdateFolder>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_set_and_taken_away() {
        let mark = OwnerMark { installation: "one".into(), organization: "two".into() };
        assert_eq!(
            request(&FolderRef::Inbox.xml(None), Some(&mark)),
            r#"<m:UpdateFolder><m:FolderChanges><t:FolderChange><t:DistinguishedFolderId Id="inbox"/><t:Updates><t:SetFolderField><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepOwner" PropertyType="String"/><t:Folder><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepOwner" PropertyType="String"/><t:Value>one/two</t:Value></t:ExtendedProperty></t:Folder></t:SetFolderField></t:Updates></t:FolderChange></m:FolderChanges></m:UpdateFolder>"#
        );
        assert!(request("", None).contains("<t:Updates><t:DeleteFolderField><t:ExtendedFieldURI"));
    }
}

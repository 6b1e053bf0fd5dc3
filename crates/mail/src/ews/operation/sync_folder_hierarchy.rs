//! `SyncFolderHierarchy`: which folders there are, and what changed about them since the last time.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/syncfolderhierarchy-operation>

use super::listed;
use crate::error::{Error, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::item::boolean;
use crate::ews::xml::{Element, escaped};
use crate::ews::{Folder, FolderId, FolderRef, Session, Version};

/// Some of the changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyPage {
    /// What the next page is asked for with.
    pub state: String,
    /// Nothing more has changed by now.
    pub last: bool,
    /// The changes, in the server's order.
    pub changes: Vec<FolderChange>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderChange {
    /// It is there: made, renamed, moved, or there when synchronization began.
    Kept(Folder),
    /// It is there no more.
    Deleted(FolderId),
}

impl Session {
    /// What changed about the folders that people see since `state`; without one, all of them.
    pub async fn sync_folder_hierarchy(&mut self, state: Option<&str>) -> Result<HierarchyPage, Error> {
        let shape = if self.version().is_some_and(|version| version >= Version::Exchange2013) {
            Folder::shape_with_role()
        } else {
            Folder::shape()
        };
        let body = request(&FolderRef::Root.xml(self.folders_of()), state, &shape);
        self.ask(Ask::reading(Phase::List, "SyncFolderHierarchy", &body), read).await
    }
}

fn request(root: &str, state: Option<&str>, shape: &str) -> String {
    let state =
        state.map(|state| format!("<m:SyncState>{}</m:SyncState>", escaped(state))).unwrap_or_default();
    format!(
        "<m:SyncFolderHierarchy>{shape}<m:SyncFolderId>{root}</m:SyncFolderId>{state}</m:SyncFolderHierarchy>"
    )
}

fn read(response: &Element) -> Result<HierarchyPage, Fault> {
    let message = only(response)?;
    let state =
        message.text_of("SyncState").ok_or(Fault::Broken("its answer has no synchronization state"))?;
    let changes: Vec<_> = listed(message, "Changes").iter().filter_map(change).collect();
    let last = message.text_of("IncludesLastFolderInRange").and_then(boolean).unwrap_or(true);
    Ok(HierarchyPage { state: state.to_owned(), last, changes })
}

fn change(change: &Element) -> Option<FolderChange> {
    Some(match change.name() {
        "Create" | "Update" => FolderChange::Kept(change.children().iter().find_map(Folder::read)?),
        "Delete" => FolderChange::Deleted(FolderId::read(change.child("FolderId")?)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_asked_for_and_read() {
        let said = request(&FolderRef::Root.xml(None), Some("H4"), &Folder::shape_with_role());
        assert!(said.contains(r#"<t:FieldURI FieldURI="folder:DistinguishedFolderId"/>"#), "{said}");
        assert!(!Folder::shape().contains("Distinguished"));
        assert!(said.starts_with("<m:SyncFolderHierarchy><m:FolderShape>"), "{said}");
        assert!(
            said.ends_with(
                r#"</m:FolderShape><m:SyncFolderId><t:DistinguishedFolderId Id="msgfolderroot"/></m:SyncFolderId><m:SyncState>H4</m:SyncState></m:SyncFolderHierarchy>"#
            ),
            "{said}"
        );
        let answer = r#"<m:SyncFolderHierarchyResponse xmlns:m="m" xmlns:t="t"><m:ResponseMessages><m:SyncFolderHierarchyResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:SyncState>H4sI</m:SyncState><m:IncludesLastFolderInRange>true</m:IncludesLastFolderInRange><m:Changes><t:Create><t:CalendarFolder><t:FolderId Id="c"/><t:DisplayName>Calendar</t:DisplayName><t:DistinguishedFolderId>calendar</t:DistinguishedFolderId></t:CalendarFolder></t:Create><t:Update><t:Folder><t:FolderId Id="f"/><t:DisplayName>Fairs</t:DisplayName></t:Folder></t:Update><t:Delete><t:FolderId Id="d"/></t:Delete></m:Changes></m:SyncFolderHierarchyResponseMessage></m:ResponseMessages></m:SyncFolderHierarchyResponse>"#;
        let page = read(&Element::parse(answer.as_bytes()).unwrap()).unwrap();
        assert!(page.last);
        let names: Vec<_> = page
            .changes
            .iter()
            .map(|change| match change {
                FolderChange::Kept(folder) => folder.name.as_str(),
                FolderChange::Deleted(id) => id.id.as_str(),
            })
            .collect();
        assert_eq!(names, ["Calendar", "Fairs", "d"]);
        assert!(
            matches!(&page.changes[0], FolderChange::Kept(folder) if folder.role.as_deref() == Some("calendar"))
        );
    }
}

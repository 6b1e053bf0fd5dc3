//! Folders: how they are named in a request, and what is read of them.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/distinguishedfolderid>

use model::address::EmailAddress;

use super::property::{self, Property};
use super::xml::{Element, escaped};

/// A folder as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FolderRef {
    /// Where mail comes in.
    Inbox,
    /// Where mail waits to be finished.
    Drafts,
    /// Where mail waits for the server to take it.
    Outbox,
    /// Where copies of what was sent are.
    SentItems,
    /// Where deleted items are.
    DeletedItems,
    /// Where unwanted mail is.
    JunkEmail,
    /// What holds all folders that people see.
    Root,
    /// One that the server named before.
    Id(FolderId),
}

/// The server's name for a folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FolderId {
    /// Case matters, and it may be some hundred characters long.
    pub id: String,
    /// Which state of it is meant, where the server said it.
    pub change_key: Option<String>,
}

/// What a server says of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name for the server.
    pub id: FolderId,
    /// What it is in.
    pub parent: Option<FolderId>,
    /// Its name for people.
    pub name: String,
    /// What is meant to be in it: `IPF.Note` for mail.
    pub class: Option<String>,
    /// What the server itself uses it for: `inbox`, `deleteditems`. Told by hierarchies alone, since Exchange 2013.
    pub role: Option<String>,
    /// How many items are in it.
    pub total: Option<u32>,
    /// How many of them were not read.
    pub unread: Option<u32>,
    /// Whose it is, where a Lockstep has marked it.
    pub owner_mark: Option<OwnerMark>,
}

/// What says which installation and organization synchronize a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerMark {
    /// The installation's id.
    pub installation: String,
    /// The organization's id there.
    pub organization: String,
}

impl FolderId {
    /// One without a state.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), change_key: None }
    }

    /// From `FolderId`, `ParentFolderId` and the like.
    pub(super) fn read(element: &Element) -> Option<Self> {
        Some(Self {
            id: element.attribute("Id").filter(|id| !id.is_empty())?.to_owned(),
            change_key: element.attribute("ChangeKey").map(str::to_owned),
        })
    }

    pub(super) fn xml(&self) -> String {
        format!("<t:FolderId Id=\"{}\"{}/>", escaped(&self.id), change_key(self.change_key.as_deref()))
    }
}

/// The attribute, where there is a change key.
pub(super) fn change_key(key: Option<&str>) -> String {
    key.map(|key| format!(" ChangeKey=\"{}\"", escaped(key))).unwrap_or_default()
}

impl FolderRef {
    fn distinguished(&self) -> Option<&'static str> {
        Some(match self {
            Self::Inbox => "inbox",
            Self::Drafts => "drafts",
            Self::Outbox => "outbox",
            Self::SentItems => "sentitems",
            Self::DeletedItems => "deleteditems",
            Self::JunkEmail => "junkemail",
            Self::Root => "msgfolderroot",
            Self::Id(_) => return None,
        })
    }

    /// As a request says it. `of` is whose folder it is, where that is not whoever asks: an id says that by itself.
    pub(super) fn xml(&self, of: Option<&EmailAddress>) -> String {
        match (self, self.distinguished(), of) {
            (Self::Id(id), ..) => id.xml(),
            (_, name, None) => format!("<t:DistinguishedFolderId Id=\"{}\"/>", name.unwrap_or_default()),
            (_, name, Some(of)) => format!(
                "<t:DistinguishedFolderId Id=\"{}\"><t:Mailbox><t:EmailAddress>{}</t:EmailAddress></t:Mailbox>\
                 </t:DistinguishedFolderId>",
                name.unwrap_or_default(),
                escaped(of.as_str()),
            ),
        }
    }
}

impl Folder {
    /// What is asked for of each folder.
    pub(super) fn shape() -> String {
        Self::shape_with("")
    }

    /// The same with what the server itself uses it for, which Exchange knows since 2013.
    pub(super) fn shape_with_role() -> String {
        Self::shape_with("<t:FieldURI FieldURI=\"folder:DistinguishedFolderId\"/>")
    }

    fn shape_with(more: &str) -> String {
        format!(
            "<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>\
             <t:FieldURI FieldURI=\"folder:DisplayName\"/><t:FieldURI FieldURI=\"folder:FolderClass\"/>\
             <t:FieldURI FieldURI=\"folder:ParentFolderId\"/><t:FieldURI FieldURI=\"folder:TotalCount\"/>\
             <t:FieldURI FieldURI=\"folder:UnreadCount\"/>{more}{}</t:AdditionalProperties></m:FolderShape>",
            Property::OwnerMark.uri()
        )
    }

    /// From `Folder`, `CalendarFolder`, `SearchFolder` and the like.
    pub(super) fn read(element: &Element) -> Option<Self> {
        Some(Self {
            id: FolderId::read(element.child("FolderId")?)?,
            parent: element.child("ParentFolderId").and_then(FolderId::read),
            name: element.text_of("DisplayName").unwrap_or_default().to_owned(),
            class: element.text_of("FolderClass").map(str::to_owned),
            role: element.text_of("DistinguishedFolderId").map(str::to_lowercase),
            total: element.read("TotalCount"),
            unread: element.read("UnreadCount"),
            owner_mark: property::value(element, Property::OwnerMark).and_then(OwnerMark::read),
        })
    }
}

impl OwnerMark {
    fn read(text: &str) -> Option<Self> {
        let (installation, organization) = text.split_once('/')?;
        Some(Self { installation: installation.to_owned(), organization: organization.to_owned() })
    }

    pub(super) fn value(&self) -> String {
        format!("{}/{}", self.installation, self.organization)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_its_role_or_by_its_id() {
        let anna = "anna@example.com".parse().unwrap();
        let id = FolderRef::Id(FolderId { id: "AA<=".into(), change_key: Some("\"".into()) });
        assert_eq!(FolderRef::Inbox.xml(None), r#"<t:DistinguishedFolderId Id="inbox"/>"#);
        assert_eq!(
            FolderRef::Root.xml(Some(&anna)),
            r#"<t:DistinguishedFolderId Id="msgfolderroot"><t:Mailbox><t:EmailAddress>anna@example.com</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>"#
        );
        assert_eq!(id.xml(Some(&anna)), r#"<t:FolderId Id="AA&lt;=" ChangeKey="&quot;"/>"#);
    }

    #[test]
    fn a_folder_needs_its_id_and_nothing_else() {
        let read = |xml: &str| Folder::read(&Element::parse(xml.as_bytes()).unwrap());
        let folder =
            read(r#"<t:Folder><t:FolderId Id="a"/><t:TotalCount>many</t:TotalCount></t:Folder>"#).unwrap();
        assert_eq!((folder.id.id.as_str(), folder.total, folder.name.as_str()), ("a", None, ""));
        assert_eq!(read("<t:Folder><t:DisplayName>x</t:DisplayName></t:Folder>"), None);
        assert_eq!(read(r#"<t:Folder><t:FolderId Id=""/></t:Folder>"#), None);
    }
}

//! What Exchange refuses before it looks at a request: elements that are unknown or out of the schema's order, and paths
//! to properties that do not exist. It validates sequences, and so does this.

use super::{Kind, has, names};
use crate::soap::Fault;
use crate::xml::Element;

/// The children of elements of requests, in the order in which they must come.
const ORDERS: &[(&str, &str)] = &[
    ("GetFolder", "FolderShape FolderIds"),
    ("FindFolder", "FolderShape IndexedPageFolderView FractionalPageFolderView Restriction ParentFolderIds"),
    ("CreateFolder", "ParentFolderId Folders"),
    ("UpdateFolder", "FolderChanges"),
    ("DeleteFolder", "FolderIds"),
    ("EmptyFolder", "FolderIds"),
    ("MoveFolder", "ToFolderId FolderIds"),
    ("SyncFolderHierarchy", "FolderShape SyncFolderId SyncState"),
    ("SyncFolderItems", "ItemShape SyncFolderId SyncState Ignore MaxChangesReturned SyncScope"),
    ("GetItem", "ItemShape ItemIds"),
    (
        "FindItem",
        "ItemShape IndexedPageItemView FractionalPageItemView SeekToConditionPageItemView CalendarView ContactsView \
         GroupBy DistinguishedGroupBy Restriction SortOrder ParentFolderIds QueryString ViewFilter ClutterFilter \
         FromFilter",
    ),
    ("CreateItem", "SavedItemFolderId Items"),
    ("UpdateItem", "SavedItemFolderId ItemChanges"),
    ("DeleteItem", "ItemIds"),
    ("MoveItem", "ToFolderId ItemIds ReturnNewItemIds"),
    ("CopyItem", "ToFolderId ItemIds ReturnNewItemIds"),
    ("SendItem", "ItemIds SavedItemFolderId"),
    ("GetAttachment", "AttachmentShape AttachmentIds"),
    ("CreateAttachment", "ParentItemId Attachments"),
    ("DeleteAttachment", "AttachmentIds"),
    ("GetStreamingEvents", "SubscriptionIds ConnectionTimeout"),
    ("StreamingSubscriptionRequest", "FolderIds EventTypes"),
    ("PullSubscriptionRequest", "FolderIds EventTypes Watermark Timeout"),
    ("ResolveNames", "ParentFolderIds UnresolvedEntry"),
    ("GetUserConfiguration", "UserConfigurationName UserConfigurationProperties"),
    ("UserConfiguration", "UserConfigurationName ItemId Dictionary XmlData BinaryData"),
    (
        "ItemShape",
        "BaseShape IncludeMimeContent BodyType UniqueBodyType NormalizedBodyType FilterHtmlContent \
         ConvertHtmlCodePageToUTF8 InlineImageUrlTemplate BlockExternalImages AddBlankTargetToLinks MaximumBodySize \
         AdditionalProperties",
    ),
    ("FolderShape", "BaseShape AdditionalProperties"),
    ("AttachmentShape", "IncludeMimeContent BodyType FilterHtmlContent AdditionalProperties"),
    ("ItemChange", "ItemId OccurrenceItemId RecurringMasterItemId Updates CalendarActivityData"),
    ("FolderChange", "FolderId DistinguishedFolderId Updates"),
    ("ExtendedProperty", "ExtendedFieldURI Value Values"),
    ("Mailbox", "Name EmailAddress Address RoutingType MailboxType ItemId OriginalDisplayName"),
    (
        "FileAttachment",
        "AttachmentId Name ContentType ContentId ContentLocation AttachmentOriginalUrl Size LastModifiedTime IsInline \
         IsContactPhoto Content",
    ),
];

/// Walks a request and refuses what the schema does not have.
pub(crate) fn check(element: &Element) -> Result<(), Fault> {
    if let Some((_, order)) = ORDERS.iter().find(|(name, _)| *name == element.name) {
        ordered(element, order.split(' '))?;
    }
    if matches!(element.name.as_str(), "FieldURI" | "IndexedFieldURI") {
        let uri = element.value("FieldURI").unwrap_or_default();
        if !exists(uri) {
            return Err(Fault::schema(&format!(
                "The 'FieldURI' attribute is invalid - The value '{uri}' is invalid according to its datatype."
            )));
        }
    }
    // Items stand in a request where they are created, changed or attached.
    if let Some(kind) = Kind::of_element(&element.name) {
        ordered(element, kind.names())?;
    }
    element.children.iter().try_for_each(check)
}

fn ordered<'a>(element: &Element, names: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    let names: Vec<&str> = names.collect();
    let mut last = 0;
    for child in &element.children {
        match names.iter().position(|name| *name == child.name) {
            Some(place) if place >= last => last = place,
            _ => {
                return Err(Fault::schema(&format!(
                    "The element '{}' in namespace 'http://schemas.microsoft.com/exchange/services/2006/types' has \
                     invalid child element '{}'.",
                    element.name, child.name
                )));
            }
        }
    }
    Ok(())
}

/// Whether there is a property of that path.
fn exists(uri: &str) -> bool {
    let Some((space, name)) = uri.split_once(':') else { return false };
    match space {
        "item" => has(names::ITEM, name) || name == "InternetMessageHeader",
        "folder" => has(names::FOLDER, name),
        "message" => has(names::MESSAGE, name),
        "calendar" => has(names::CALENDAR, name),
        "task" => has(names::TASK, name),
        "meeting" => has(names::MEETING, name) || has(names::RESPONSE, name),
        "meetingRequest" => has(names::REQUEST, name),
        "postitem" => has(names::POST, name),
        "distributionlist" => has(names::LIST, name),
        "contacts" => {
            has(names::CONTACT, name)
                || ["EmailAddress", "PhoneNumber", "ImAddress", "Culture"].contains(&name)
                || name.starts_with("PhysicalAddress:")
        }
        "conversation" | "persona" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_out_of_the_schemas_order_are_refused() {
        let good = Element::t("Message").with(Element::text("Subject", "x")).with(Element::t("ToRecipients"));
        assert!(check(&good).is_ok());
        let bad = Element::t("Message").with(Element::t("ToRecipients")).with(Element::text("Subject", "x"));
        assert_eq!(check(&Element::m("Items").with(bad)).unwrap_err().code, "ErrorSchemaValidation");
        assert!(check(&Element::t("Message").with(Element::t("Start"))).is_err());
        let reversed = Element::m("GetItem").with(Element::m("ItemIds")).with(Element::m("ItemShape"));
        assert!(check(&reversed).is_err());
    }

    #[test]
    fn paths_to_properties_that_do_not_exist_are_refused() {
        for (uri, exists) in [
            ("item:Subject", true),
            ("message:InternetMessageId", true),
            ("contacts:PhysicalAddress:City", true),
            ("item:Subjekt", false),
            ("message:Subject", false),
            ("Subject", false),
        ] {
            assert_eq!(check(&Element::t("FieldURI").attribute("FieldURI", uri)).is_ok(), exists, "{uri}");
        }
    }
}

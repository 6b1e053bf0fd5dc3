//! Items and folders as an answer shows them: what was given, and what the server knows by itself.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::body;
use crate::id::{Id, change_key};
use crate::item::{Attachment, Content, Item, mailbox};
use crate::mailbox::{Folder, Mailbox};
use crate::mime;
use crate::occurrence;
use crate::property::{self, Key, Value};
use crate::schema::{Kind, Shape};
use crate::time;
use crate::version::Version;
use crate::xml::Element;

/// `<t:ItemId>`.
pub(crate) fn item_id(place: usize, item: &Item) -> Element {
    if let Some(occurrence) = item.occurrence_of {
        return occurrence::id(place, item, occurrence);
    }
    Element::t("ItemId")
        .attribute("Id", Id::Item { mailbox: place, number: item.number }.encode())
        .attribute("ChangeKey", change_key(item.version()))
}

/// `<t:FolderId>`, or the same under another name.
pub(crate) fn folder_id(name: &str, place: usize, folder: &Folder) -> Element {
    Element::t(name)
        .attribute("Id", Id::Folder { mailbox: place, number: folder.number }.encode())
        .attribute("ChangeKey", change_key(folder.changed))
}

/// An item with its id and nothing else, as answers to changes show it.
pub(crate) fn bare(place: usize, item: &Item) -> Element {
    Element::t(item.kind().element()).with(item_id(place, item))
}

/// An item that was created: its id, and those of what hangs on it.
pub(crate) fn created(place: usize, item: &Item) -> Element {
    let shown = bare(place, item);
    if item.attachments.is_empty() {
        return shown;
    }
    let all = item.attachments.iter().map(|attachment| {
        let id = Id::Attachment { mailbox: place, item: item.number, number: attachment.number };
        let name = match attachment.content {
            Content::File(_) => "FileAttachment",
            Content::Item(_) => "ItemAttachment",
        };
        Element::t(name).with(Element::t("AttachmentId").attribute("Id", id.encode()))
    });
    shown.with(Element::t("Attachments").with_all(all))
}

/// An item in a shape.
pub(crate) fn item(mailbox: &Mailbox, item: &Item, shape: &Shape) -> Element {
    let kind = item.kind();
    let mut element = Element::t(kind.element());
    for name in kind.names() {
        if name == "ExtendedProperty" {
            for (key, of) in &shape.extended {
                if let Some(value) = extended(mailbox, item, key, of) {
                    element = element.with(property::write(key, &value));
                }
            }
        } else if shape.shows(kind, name)
            && let Some(shown) = field(mailbox, item, kind, name, shape)
        {
            element = element.with(shown);
        }
    }
    element
}

/// One field of an item, if it has it.
pub(crate) fn field(
    mailbox: &Mailbox,
    item: &Item,
    kind: Kind,
    name: &str,
    shape: &Shape,
) -> Option<Element> {
    let text = |value: String| Some(Element::text(name, value));
    let flag = |value: bool| Some(Element::text(name, value));
    let or = |value: &str| Some(item.field(name).cloned().unwrap_or_else(|| Element::text(name, value)));
    let of_message = matches!(kind, Kind::Message) || kind.is_mail();
    match name {
        "MimeContent" => Some(mime::content(item)),
        "ItemId" => Some(item_id(mailbox.place, item)),
        "ParentFolderId" => {
            mailbox.folders.get(&item.folder).map(|folder| folder_id(name, mailbox.place, folder))
        }
        "ItemClass" => text(item.class.clone()),
        "Subject" => item.field(name).filter(|subject| !subject.text.is_empty()).cloned(),
        "Sensitivity" | "Importance" => or("Normal"),
        "Body" | "UniqueBody" | "NormalizedBody" => {
            Some(body::element(name, item.body.as_ref(), &shape.body_type))
        }
        "TextBody" => Some(body::element(name, item.body.as_ref(), "Text")),
        "Preview" => {
            let whole = body::element(name, item.body.as_ref(), "Text").text;
            text(whole.chars().take(255).collect())
        }
        "Attachments" => (!item.attachments.is_empty()).then(|| {
            let all = item.attachments.iter().map(|one| attachment(mailbox, item, one, None));
            Element::t(name).with_all(all)
        }),
        "HasAttachments" => flag(item.attachments.iter().any(|attachment| !attachment.inline)),
        "DateTimeReceived" => text(time::write(item.received)),
        "DateTimeSent" => text(mime::sent(item)),
        "DateTimeCreated" => text(time::write(item.created)),
        "LastModifiedTime" | "DateTimeStamp" => text(time::write(item.modified)),
        "LastModifiedName" => text(mailbox.name.clone()),
        "Size" => text(item.size().to_string()),
        "IsSubmitted" | "IsResend" => flag(false),
        "IsDraft" => flag(item.draft),
        "IsFromMe" => flag(item.from_me),
        "IsUnmodified" => flag(item.changes.is_empty() && !item.draft),
        "IsAssociated" => flag(item.associated),
        "IsRead" if of_message => flag(item.read),
        "ReminderIsSet" | "IsReadReceiptRequested" | "IsDeliveryReceiptRequested" | "IsResponseRequested" => {
            or("false")
        }
        "InternetMessageHeaders" => (!item.headers.is_empty()).then(|| {
            let headers = item.headers.iter().map(|(name, value)| {
                Element::text("InternetMessageHeader", value).attribute("HeaderName", name)
            });
            Element::t(name).with_all(headers)
        }),
        "ReminderMinutesBeforeStart" => {
            or(if matches!(kind, Kind::Calendar | Kind::Task) { "15" } else { "0" })
        }
        "ReminderDueBy" => {
            item.field(name).or_else(|| item.field("Start")).map(|due| Element::text(name, &due.text))
        }
        "DisplayTo" => text(names(item, "ToRecipients")),
        "DisplayCc" => text(names(item, "CcRecipients")),
        "DisplayBcc" => text(names(item, "BccRecipients")),
        "Culture" => or("en-US"),
        "EffectiveRights" => Some(rights()),
        "WebClientReadFormQueryString" | "WebClientEditFormQueryString" => {
            let id = Id::Item { mailbox: mailbox.place, number: item.number }.encode();
            text(format!("https://localhost/owa/?ItemID={id}&exvsurl=1&viewmodel=ReadMessageItem"))
        }
        "ConversationId" if of_message => {
            let topic = topic(item);
            let id = crate::id::checksum(topic.to_lowercase().as_bytes());
            let id = BASE64_STANDARD.encode(format!("conversation {id:08x}"));
            Some(Element::t(name).attribute("Id", id))
        }
        "ConversationTopic" => text(topic(item)),
        "ConversationIndex" => text(BASE64_STANDARD.encode(item.search_key)),
        "Flag" => Some(
            item.field(name)
                .cloned()
                .unwrap_or_else(|| Element::t(name).with(Element::text("FlagStatus", "NotFlagged"))),
        ),
        "InstanceKey" => text(BASE64_STANDARD.encode(item.number.to_be_bytes())),
        "ReceivedBy" | "ReceivedRepresenting" if of_message && !item.from_me && !item.draft => {
            Some(Element::t(name).with(self::mailbox(&mailbox.name, &mailbox.address)))
        }
        "ResponseObjects" if of_message && !item.draft => {
            Some(Element::t(name).with_all(["ReplyToItem", "ReplyAllToItem", "ForwardItem"].map(Element::t)))
        }
        "FirstOccurrence" | "LastOccurrence" | "ModifiedOccurrences" | "DeletedOccurrences"
            if item.occurrence_of.is_none() =>
        {
            occurrence::summary(mailbox, item, name)
        }
        _ => item.field(name).cloned(),
    }
}

/// The entry that a list of attachments shows, or with `content` what `GetAttachment` does.
pub(crate) fn attachment(
    mailbox: &Mailbox,
    root: &Item,
    attachment: &Attachment,
    content: Option<&Shape>,
) -> Element {
    let id = Id::Attachment { mailbox: mailbox.place, item: root.number, number: attachment.number };
    let id = Element::t("AttachmentId").attribute("Id", id.encode());
    let element = Element::t(match attachment.content {
        Content::File(_) => "FileAttachment",
        Content::Item(_) => "ItemAttachment",
    });
    let mut element = element.with(id).with(Element::text("Name", &attachment.name));
    for (name, value) in [
        ("ContentType", &attachment.content_type),
        ("ContentId", &attachment.content_id),
        ("ContentLocation", &attachment.content_location),
    ] {
        if let Some(value) = value {
            element = element.with(Element::text(name, value));
        }
    }
    element = element
        .with(Element::text("Size", attachment.size()))
        .with(Element::text("LastModifiedTime", time::write(attachment.modified)))
        .with(Element::text("IsInline", attachment.inline));
    match (&attachment.content, content) {
        (Content::File(_), None) => element.with(Element::text("IsContactPhoto", false)),
        (Content::File(bytes), Some(_)) => element
            .with(Element::text("IsContactPhoto", false))
            .with(Element::text("Content", BASE64_STANDARD.encode(bytes))),
        (Content::Item(_), None) => element,
        (Content::Item(inner), Some(shape)) => {
            let mut shown = item(mailbox, inner, shape);
            // An item within another has no id of its own and is in no folder.
            shown.children.retain(|child| child.name != "ItemId" && child.name != "ParentFolderId");
            for list in shown.children.iter_mut().filter(|child| child.name == "Attachments") {
                list.children =
                    inner.attachments.iter().map(|one| self::attachment(mailbox, root, one, None)).collect();
            }
            element.with(shown)
        }
    }
}

/// An extended property: one that was given, or one that the store keeps by itself.
pub(crate) fn extended(mailbox: &Mailbox, item: &Item, key: &Key, kind: &str) -> Option<Value> {
    if let Some(value) = item.extended.get(key) {
        return Some(Value { kind: kind.to_owned(), texts: value.texts.clone() });
    }
    let Key::Tag(tag) = key else { return None };
    let text = match tag {
        // PidTagMessageClass, PidTagSubject, PidTagConversationTopic.
        0x001a => item.class.clone(),
        0x0037 => item.field_text("Subject").unwrap_or_default().to_owned(),
        0x0070 => topic(item),
        // PidTagTransportMessageHeaders.
        0x007d => {
            let headers: Vec<String> =
                item.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            (!headers.is_empty()).then(|| headers.join("\r\n"))?
        }
        // PidTagMessageFlags: read, unsent, from me, has attachments.
        0x0e07 => {
            let flags =
                [(item.read, 1), (item.draft, 8), (!item.attachments.is_empty(), 16), (item.from_me, 32)];
            flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum::<u32>().to_string()
        }
        0x0e08 => item.size().to_string(),
        0x0e1b => (!item.attachments.is_empty()).to_string(),
        // PidTagInternetArticleNumber.
        0x0e23 => item.number.to_string(),
        0x0e06 => time::write(item.received),
        0x0039 => mime::sent(item),
        0x3007 => time::write(item.created),
        0x3008 => time::write(item.modified),
        // PidTagSearchKey, PidTagEntryId, PidTagChangeKey.
        0x300b => BASE64_STANDARD.encode(item.search_key),
        0x0fff => BASE64_STANDARD.encode((mailbox.place, item.number).1.to_be_bytes()),
        0x65e2 => BASE64_STANDARD.encode(item.version().to_be_bytes()),
        // PidTagInternetMessageId, PidTagInReplyToId, PidTagInternetReferences.
        0x1035 => item.field_text("InternetMessageId")?.to_owned(),
        0x1042 => item.field_text("InReplyTo")?.to_owned(),
        0x1039 => item.field_text("References")?.to_owned(),
        0x1000 => body::element("Body", item.body.as_ref(), "Text").text,
        0x3fde => "65001".to_owned(),
        // PidTagAttributeHidden.
        0x10f4 => "false".to_owned(),
        _ => return None,
    };
    Some(Value { kind: kind.to_owned(), texts: vec![text] })
}

/// A folder in a shape.
pub(crate) fn folder(mailbox: &Mailbox, folder: &Folder, shape: &Shape, version: Version) -> Element {
    let element = match folder.class.as_str() {
        class if class.starts_with("IPF.Appointment") => "CalendarFolder",
        class if class.starts_with("IPF.Contact") => "ContactsFolder",
        class if class.starts_with("IPF.Task") => "TasksFolder",
        _ => "Folder",
    };
    let mut shown = Element::t(element).with(folder_id("FolderId", mailbox.place, folder));
    let wants = |name: &str| shape.shows_of_folder(name);
    if wants("ParentFolderId")
        && let Some(parent) = folder.parent.and_then(|parent| mailbox.folders.get(&parent))
    {
        shown = shown.with(folder_id("ParentFolderId", mailbox.place, parent));
    }
    if wants("FolderClass") && !folder.class.is_empty() {
        shown = shown.with(Element::text("FolderClass", &folder.class));
    }
    if wants("DisplayName") {
        shown = shown.with(Element::text("DisplayName", &folder.name));
    }
    if wants("TotalCount") {
        shown = shown.with(Element::text("TotalCount", mailbox.items_of(folder.number).count()));
    }
    if wants("ChildFolderCount") {
        shown = shown.with(Element::text("ChildFolderCount", mailbox.children(folder.number).count()));
    }
    for (key, kind) in &shape.extended {
        if let Some(value) = folder_property(mailbox, folder, key, kind) {
            shown = shown.with(property::write(key, &value));
        }
    }
    if wants("EffectiveRights") {
        shown = shown.with(rights());
    }
    if wants("DistinguishedFolderId")
        && version >= Version::Exchange2013
        && let Some(name) = folder.distinguished
    {
        shown = shown.with(Element::text("DistinguishedFolderId", name));
    }
    if wants("UnreadCount") && element != "CalendarFolder" && element != "ContactsFolder" {
        let unread = mailbox.items_of(folder.number).filter(|item| !item.read).count();
        shown = shown.with(Element::text("UnreadCount", unread));
    }
    shown
}

fn folder_property(mailbox: &Mailbox, folder: &Folder, key: &Key, kind: &str) -> Option<Value> {
    if let Some(value) = folder.extended.get(key) {
        return Some(Value { kind: kind.to_owned(), texts: value.texts.clone() });
    }
    let Key::Tag(tag) = key else { return None };
    let latest = || mailbox.items_of(folder.number).map(Item::version).max().unwrap_or(folder.changed);
    let text = match tag {
        0x3001 => folder.name.clone(),
        0x3613 => folder.class.clone(),
        0x0e08 => {
            let items: usize = mailbox.items_of(folder.number).map(Item::size).sum();
            (items + 4096).to_string()
        }
        0x3602 => mailbox.items_of(folder.number).count().to_string(),
        0x360a => (mailbox.children(folder.number).count() > 0).to_string(),
        0x10f4 => "false".to_owned(),
        0x0fff => BASE64_STANDARD.encode(folder.number.to_be_bytes()),
        // PidTagLocalCommitTimeMax: DavMail reads the folder again when it moved on.
        0x670a => {
            let seconds = i64::try_from(latest()).unwrap_or_default();
            time::write(jiff::Timestamp::from_second(1_700_000_000 + seconds).unwrap_or_default())
        }
        // PidTagFolderPathname, with the separator that Exchange uses.
        0x66b5 => {
            let mut names = vec![folder.name.clone()];
            let mut at = folder.parent;
            while let Some(parent) = at.and_then(|number| mailbox.folders.get(&number)) {
                if parent.parent.is_some() {
                    names.push(parent.name.clone());
                }
                at = parent.parent;
            }
            names.reverse();
            format!("\u{fffd}{}", names.join("\u{fffd}"))
        }
        _ => return None,
    };
    Some(Value { kind: kind.to_owned(), texts: vec![text] })
}

fn rights() -> Element {
    let all = ["CreateAssociated", "CreateContents", "CreateHierarchy", "Delete", "Modify", "Read"];
    Element::t("EffectiveRights").with_all(all.iter().map(|right| Element::text(*right, true)))
}

fn names(item: &Item, field: &str) -> String {
    let names: Vec<String> = item
        .people(field)
        .into_iter()
        .map(|(name, address)| if name.is_empty() { address } else { name })
        .collect();
    names.join("; ")
}

/// The subject without its prefixes.
fn topic(item: &Item) -> String {
    let mut subject = item.field_text("Subject").unwrap_or_default().trim();
    while let Some((prefix, rest)) = subject.split_once(':') {
        if !(1..=3).contains(&prefix.len()) || !prefix.chars().all(char::is_alphabetic) {
            break;
        }
        subject = rest.trim();
    }
    subject.to_owned()
}

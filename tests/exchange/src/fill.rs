//! What a client gives becomes what an item holds, and Exchange adds what it adds to items of each class.

mod complete;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;

use crate::body;
use crate::item::{Attachment, Content, Item};
use crate::mailbox::Mailbox;
use crate::mime;
use crate::property;
use crate::schema::Kind;
use crate::soap::{Fault, Refusal};
use crate::time;
use crate::xml::{Element, truth};

pub(crate) use complete::complete;

/// Moments, which are kept in UTC whatever they came in.
const MOMENTS: &[&str] = &[
    "Start",
    "End",
    "DueDate",
    "StartDate",
    "CompleteDate",
    "ReminderDueBy",
    "Birthday",
    "WeddingAnniversary",
    "AssignedTime",
    "OriginalStart",
    "RecurrenceId",
];

/// Yes or no, beside everything that begins with `Is`.
const TRUTHS: &[&str] = &["ReminderIsSet", "AllowNewTimeProposal", "MeetingRequestWasSent"];

/// What a client may not set.
const READ_ONLY: &[&str] = &[
    "ItemId",
    "ParentFolderId",
    "Size",
    "IsSubmitted",
    "IsDraft",
    "IsFromMe",
    "IsResend",
    "IsUnmodified",
    "DateTimeSent",
    "DateTimeCreated",
    "DateTimeReceived",
    "ResponseObjects",
    "DisplayCc",
    "DisplayTo",
    "DisplayBcc",
    "HasAttachments",
    "EffectiveRights",
    "LastModifiedName",
    "LastModifiedTime",
    "IsAssociated",
    "WebClientReadFormQueryString",
    "WebClientEditFormQueryString",
    "ConversationId",
    "UniqueBody",
    "StoreEntryId",
    "InstanceKey",
    "NormalizedBody",
    "Preview",
    "TextBody",
    "ConversationTopic",
    "ReceivedBy",
    "ReceivedRepresenting",
];

/// Makes an item of `<t:Message>` and the like.
pub(crate) fn create(
    element: &Element,
    mailbox: &Mailbox,
    now: Timestamp,
) -> Result<Result<Item, Refusal>, Fault> {
    let kind = Kind::of_element(&element.name)
        .ok_or_else(|| Fault::schema(&format!("The element '{}' is no item.", element.name)))?;
    Ok(fill(element, kind, mailbox, now))
}

fn fill(element: &Element, kind: Kind, owner: &Mailbox, now: Timestamp) -> Result<Item, Refusal> {
    let mut item = Item::new(kind.class(), now);
    if let Some(content) = element.child("MimeContent") {
        let bytes =
            BASE64_STANDARD.decode(content.text.split_whitespace().collect::<String>()).map_err(|_| {
                Refusal::of(
                    "ErrorMimeContentInvalidBase64String",
                    "Message content is not a valid base64 string.",
                )
            })?;
        let class = item.class;
        item = mime::read(&bytes, now);
        if item.class == "IPM.Note" {
            item.class = class;
        }
        if kind == Kind::Message {
            item.read = false;
        }
    }
    for child in &element.children {
        if child.name != "MimeContent" {
            set(&mut item, child, true)?;
        }
    }
    complete(&mut item, owner, now)?;
    Ok(item)
}

/// Sets one field; `anew` while the item is created.
pub(crate) fn set(item: &mut Item, field: &Element, anew: bool) -> Result<(), Refusal> {
    if READ_ONLY.contains(&field.name.as_str()) {
        let mut refusal = Refusal::of("ErrorInvalidPropertySet", "Set action is invalid for property.");
        refusal.values.push(("Property".to_owned(), field.name.clone()));
        return Err(refusal);
    }
    match field.name.as_str() {
        "ItemClass" => field.text.trim().clone_into(&mut item.class),
        "Body" => item.body = Some(body::parse(field)),
        "IsRead" => {
            item.read = truth(&field.text);
            if anew {
                item.set(field.clone());
            }
        }
        "ExtendedProperty" => {
            let (key, value) = property::parse(field)?;
            // PidTagMessageFlags tells whether an item is a draft while it is made, and nothing afterwards.
            if key == property::Key::Tag(0x0e07) && anew {
                let flags: u32 = value.texts.first().and_then(|flags| flags.parse().ok()).unwrap_or_default();
                item.read = flags & 1 != 0;
                item.draft = flags & 8 != 0;
                item.extended.insert(property::Key::Tag(0x0e07), value);
                return Ok(());
            }
            item.extended.insert(key, value);
        }
        "Attachments" => {
            for one in &field.children {
                let attachment = attachment(one, item.created)?;
                item.attachments.push(attachment);
            }
        }
        "EmailAddresses" | "PhoneNumbers" | "PhysicalAddresses" | "ImAddresses" if !anew => {
            merge(item, field);
        }
        // The schema spells truth in two ways; Exchange answers in one.
        name if name.starts_with("Is") || TRUTHS.contains(&name) => item.set_text(name, truth(&field.text)),
        name if MOMENTS.contains(&name) => {
            let at = time::read(&field.text).ok_or_else(|| {
                Refusal::of("ErrorInvalidValueForProperty", "The specified value is invalid for property.")
            })?;
            item.set_text(name, time::write(at));
        }
        "Subject" => item.set_text("Subject", field.text.chars().take(255).collect::<String>()),
        "Recurrence" => item.set(dated(field)),
        _ => item.set(field.clone()),
    }
    Ok(())
}

/// A recurrence whose dates carry an offset, as Exchange answers them.
fn dated(recurrence: &Element) -> Element {
    let mut recurrence = recurrence.clone();
    for part in recurrence.children.iter_mut().flat_map(|range| &mut range.children) {
        if (part.name == "StartDate" || part.name == "EndDate") && part.text.len() == 10 {
            part.text.push('Z');
        }
    }
    recurrence
}

/// Puts the entries of a dictionary among those that are there; parts of an address one by one.
fn merge(item: &mut Item, field: &Element) {
    let mut all = item.field(&field.name).cloned().unwrap_or_else(|| Element::t(&field.name));
    for entry in &field.children {
        let key = entry.value("Key");
        match all.children.iter_mut().find(|known| known.value("Key") == key) {
            Some(known) if !entry.children.is_empty() => {
                for part in &entry.children {
                    known.children.retain(|old| old.name != part.name);
                    known.children.push(part.clone());
                }
            }
            Some(known) => *known = entry.clone(),
            None => all.children.push(entry.clone()),
        }
    }
    item.set(all);
}

/// Reads `FileAttachment` or `ItemAttachment`.
pub(crate) fn attachment(element: &Element, now: Timestamp) -> Result<Attachment, Refusal> {
    let text = |name: &str| element.child_text(name).map(|text| text.trim().to_owned());
    let content = if element.name.as_str() == "FileAttachment" {
        let content: String = element.child_text("Content").unwrap_or_default().split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(content).map_err(|_| {
            Refusal::of("ErrorInvalidAttachmentContent", "The content of the attachment is no base64.")
        })?;
        Content::File(bytes.into())
    } else {
        let (kind, inner) = element
            .children
            .iter()
            .find_map(|child| Kind::of_element(&child.name).map(|kind| (kind, child)))
            .ok_or_else(|| {
                Refusal::of(
                    "ErrorMissingItemForCreateItemAttachment",
                    "Item attachment does not contain an item.",
                )
            })?;
        let mut item = Item::new(kind.class(), now);
        if let Some(mime) = inner.child("MimeContent") {
            let bytes = BASE64_STANDARD
                .decode(mime.text.split_whitespace().collect::<String>())
                .map_err(|_| Refusal::of("ErrorMimeContentInvalidBase64String", "Not base64."))?;
            item = mime::read(&bytes, now);
        }
        for child in inner.children.iter().filter(|child| child.name != "MimeContent") {
            // Whatever the server keeps of an item is taken from one that was copied into another.
            if !READ_ONLY.contains(&child.name.as_str()) {
                set(&mut item, child, true)?;
            }
        }
        Content::Item(Box::new(item))
    };
    Ok(Attachment {
        number: Attachment::number(),
        name: text("Name").unwrap_or_default(),
        content_type: text("ContentType").filter(|kind| !kind.is_empty()),
        content_id: text("ContentId"),
        content_location: text("ContentLocation"),
        inline: element.child_text("IsInline").is_some_and(truth),
        modified: now,
        content,
    })
}

//! What a client gives becomes what an item holds, and Exchange adds what it adds to items of each class.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};

use crate::body;
use crate::item::{Attachment, Content, Item, mailbox};
use crate::mailbox::Mailbox;
use crate::mime;
use crate::property;
use crate::schema::Kind;
use crate::soap::{Fault, Refusal};
use crate::time;
use crate::xml::{Element, truth};
use crate::zone;

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

/// What Exchange adds to an item of its class when it is saved.
pub(crate) fn complete(item: &mut Item, owner: &Mailbox, now: Timestamp) -> Result<(), Refusal> {
    match item.kind() {
        Kind::Calendar => calendar(item, owner, now)?,
        Kind::Contact => {
            if item.field("FileAs").is_none() {
                let name = item.field_text("DisplayName").unwrap_or_default().to_owned();
                item.set_text("FileAs", name);
            }
            let text = |name: &str| item.field_text(name).unwrap_or_default().to_owned();
            let full = match text("DisplayName") {
                name if name.is_empty() => {
                    format!("{} {}", text("GivenName"), text("Surname")).trim().to_owned()
                }
                name => name,
            };
            let mut complete = Element::t("CompleteName");
            for (part, from) in
                [("FirstName", "GivenName"), ("MiddleName", "MiddleName"), ("LastName", "Surname")]
            {
                if !text(from).is_empty() {
                    complete = complete.with(Element::text(part, text(from)));
                }
            }
            let complete = complete.with(Element::text("FullName", &full));
            item.set(complete);
            item.set_text("ContactSource", "Store");
            if item.field("Subject").is_none() {
                item.set_text("Subject", full);
            }
        }
        Kind::List => item.set_text("ContactSource", "Store"),
        Kind::Task => task(item, owner, now),
        _ => {}
    }
    Ok(())
}

fn task(item: &mut Item, owner: &Mailbox, now: Timestamp) {
    let status = item.field_text("Status").unwrap_or("NotStarted").to_owned();
    let percent: f64 =
        item.field_text("PercentComplete").and_then(|text| text.parse().ok()).unwrap_or_default();
    // Status and percentage follow each other: the one that says that it is done wins.
    let complete = status == "Completed" || percent >= 100.0;
    item.set_text("Status", if complete { "Completed" } else { &status });
    item.set_text("PercentComplete", if complete { "100".to_owned() } else { format!("{percent}") });
    item.set_text("IsComplete", complete);
    if complete && item.field("CompleteDate").is_none() {
        item.set_text("CompleteDate", time::write(now));
    }
    if !complete {
        item.remove("CompleteDate");
    }
    let recurring = item.field("Recurrence").is_some();
    item.set_text("IsRecurring", recurring);
    item.set_text("IsTeamTask", false);
    item.set_text("IsAssignmentEditable", true);
    item.set_text("DelegationState", "NoMatch");
    item.set_text("Owner", &owner.name);
    let count = item.changes.len() + 1;
    item.set_text("ChangeCount", count);
    item.set_text(
        "StatusDescription",
        match status.as_str() {
            _ if complete => "Completed",
            "InProgress" => "In Progress",
            "WaitingOnOthers" => "Waiting on someone else",
            "Deferred" => "Deferred",
            _ => "Not Started",
        },
    );
}

fn calendar(item: &mut Item, owner: &Mailbox, now: Timestamp) -> Result<(), Refusal> {
    let moment = |item: &Item, name: &str| item.field_text(name).and_then(time::read);
    let start = moment(item, "Start").unwrap_or(now);
    let end = moment(item, "End").unwrap_or(start + SignedDuration::from_mins(30));
    if end < start {
        return Err(Refusal::of(
            "ErrorCalendarEndDateIsEarlierThanStartDate",
            "EndDate is earlier than StartDate",
        ));
    }
    let (start, end) = if item.field_text("IsAllDayEvent").is_some_and(truth) {
        // A whole day is one where the event is.
        let zone = |name: &str| zone::of(item.field(name).and_then(|zone| zone.value("Id")));
        (
            zone::midnight(start, &zone("StartTimeZone"), false),
            zone::midnight(end, &zone("EndTimeZone"), true),
        )
    } else {
        (start, end)
    };
    item.set_text("Start", time::write(start));
    item.set_text("End", time::write(end));
    if item.field_text("UID").is_none_or(str::is_empty) {
        // The global object id that Outlook writes.
        let uid = format!("040000008200E00074C5B7101A82E008{}", mime::hex(&item.search_key).to_uppercase());
        item.set_text("UID", uid);
    }
    let attendees = ["RequiredAttendees", "OptionalAttendees", "Resources"]
        .iter()
        .any(|name| !item.people(name).is_empty());
    let recurring = item.field("Recurrence").is_some();
    for (name, value) in [
        ("IsAllDayEvent", "false"),
        ("LegacyFreeBusyStatus", "Busy"),
        ("IsCancelled", "false"),
        ("MeetingRequestWasSent", "false"),
        ("IsResponseRequested", "true"),
        ("ConferenceType", "0"),
        ("AllowNewTimeProposal", "true"),
        ("AppointmentSequenceNumber", "0"),
        ("IsOnlineMeeting", "false"),
    ] {
        if item.field(name).is_none() {
            item.set_text(name, value);
        }
    }
    item.set_text("IsMeeting", attendees);
    item.set_text("IsRecurring", item.occurrence_of.is_some());
    let kind = if recurring {
        "RecurringMaster"
    } else if item.occurrence_of.is_some() {
        "Exception"
    } else {
        "Single"
    };
    item.set_text("CalendarItemType", kind);
    item.set_text("AppointmentState", u8::from(attendees));
    if item.field("MyResponseType").is_none() {
        item.set_text("MyResponseType", if attendees { "Organizer" } else { "Unknown" });
    }
    if item.field("Organizer").is_none() {
        item.set(Element::t("Organizer").with(mailbox(&owner.name, &owner.address)));
    }
    for name in ["RequiredAttendees", "OptionalAttendees", "Resources"] {
        let Some(list) = item.field(name).cloned() else { continue };
        let mut list = list;
        for attendee in &mut list.children {
            if attendee.child("ResponseType").is_none() {
                attendee.children.push(Element::text("ResponseType", "Unknown"));
            }
        }
        item.set(list);
    }
    let duration = end.duration_since(start);
    item.set_text("Duration", format_duration(duration.as_secs()));
    item.set_text("ConflictingMeetingCount", 0);
    item.set_text("AdjacentMeetingCount", 0);
    Ok(())
}

/// `xs:duration`.
fn format_duration(seconds: i64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes) = (rest / 3600, rest % 3600 / 60);
    let mut text = String::from("P");
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if hours > 0 || minutes > 0 || days == 0 {
        text.push('T');
        if hours > 0 {
            let _ = write!(text, "{hours}H");
        }
        if minutes > 0 || hours == 0 {
            let _ = write!(text, "{minutes}M");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_the_schema_wants_it() {
        for (seconds, text) in
            [(0, "PT0M"), (5400, "PT1H30M"), (86_400, "P1D"), (90_000, "P1DT1H"), (3600, "PT1H")]
        {
            assert_eq!(format_duration(seconds), text);
        }
    }
}

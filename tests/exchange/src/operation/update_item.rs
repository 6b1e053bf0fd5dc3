//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/updateitem-operation>

use crate::call::Call;
use crate::fill;
use crate::id::change_key;
use crate::item::{Change, Item};
use crate::meeting;
use crate::occurrence;
use crate::render;
use crate::schema::{self, Kind, Path};
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let resolution = request
        .value("ConflictResolution")
        .ok_or_else(|| Fault::schema("The required attribute 'ConflictResolution' is missing."))?;
    let changes = request.child("ItemChanges").ok_or_else(|| Fault::schema("'ItemChanges' is missing."))?;
    let messages = changes.children.iter().map(|change| one(call, request, change, resolution)).collect();
    Ok(soap::answer("UpdateItem", messages, &[Element::m("Items")]))
}

fn one(call: &mut Call<'_>, request: &Element, change: &Element, resolution: &str) -> Message {
    let id = change.children.first().ok_or_else(Refusal::malformed_id)?;
    let at = match occurrence::named(call, id) {
        // A change to an occurrence makes an exception of it.
        Some(occurrence) => occurrence?.except(call)?,
        None => call.item(id)?,
    };
    let before = call.item_of(at)?.clone();
    let kind = before.kind();
    if kind == Kind::Message && request.value("MessageDisposition").is_none() {
        return Err(Refusal::of(
            "ErrorMessageDispositionRequired",
            "When updating an item of type Message, the MessageDisposition attribute is required.",
        ));
    }
    if kind == Kind::Calendar && request.value("SendMeetingInvitationsOrCancellations").is_none() {
        return Err(Refusal::of(
            "ErrorSendMeetingInvitationsOrCancellationsRequired",
            "The SendMeetingInvitationsOrCancellations attribute is required for calendar items.",
        ));
    }
    if id.name == "ItemId" && resolution != "AlwaysOverwrite" {
        match id.value("ChangeKey").filter(|key| !key.is_empty()) {
            None => {
                return Err(Refusal::of(
                    "ErrorChangeKeyRequired",
                    "A change key is required for this operation.",
                ));
            }
            Some(key) if key != change_key(before.version()) && resolution == "NeverOverwrite" => {
                return Err(conflict());
            }
            Some(_) => {}
        }
    }
    let updates = change.child("Updates").map_or(&[][..], |updates| &updates.children);
    let mut after = before.clone();
    for update in updates {
        apply(&mut after, update)?;
    }
    fill::complete(&mut after, call.mailbox(at.0), call.now)?;
    // A message that was changed is made anew of its fields; marks and flags are no part of it.
    if !only_marks(updates) {
        after.mime = None;
    }
    let how = if only_read(updates) { Change::ReadFlag } else { Change::Content };
    let invites = request.value("SendMeetingInvitationsOrCancellations").unwrap_or("SendToNone").to_owned();
    if kind == Kind::Calendar && invites != "SendToNone" {
        meeting::invite(call, at.0, &mut after, "Request", invites.contains("SaveCopy"));
    }
    let sends = kind == Kind::Message
        && request.value("MessageDisposition").is_some_and(|disposition| disposition.starts_with("Send"));
    call.change_item(at, |item| *item = after)?;
    call.state.touch(at.0, at.1, how, call.now);
    if sends {
        let item = call.item_of(at)?.clone();
        let sender = call.acting.unwrap_or(at.0);
        let copy = crate::delivery::send(call.state, sender, &call.login, item, call.now)?;
        call.state.remove(at.0, at.1)?;
        if request.value("MessageDisposition") == Some("SendAndSaveCopy") {
            let to = if let Some(folder) = request.child("SavedItemFolderId") {
                call.folder_in(folder)?
            } else {
                let sent = call.mailbox(sender).distinguished("sentitems");
                (sender, sent.ok_or_else(Refusal::folder_not_found)?)
            };
            crate::sent_copy::keep(call.state, sender, to, copy);
        }
        return Ok(vec![Element::m("Items")]);
    }
    let shown = render::bare(at.0, call.item_of(at)?);
    let conflicts = Element::m("ConflictResults").with(Element::text("Count", 0));
    Ok(vec![Element::m("Items").with(shown), conflicts])
}

fn apply(item: &mut Item, update: &Element) -> Result<(), Refusal> {
    let path = Path::within(update).ok_or_else(|| {
        Refusal::of(
            "ErrorIncorrectUpdatePropertyCount",
            "An object within a change description must contain one and \
                     only one property to modify.",
        )
    })??;
    match update.name.as_str() {
        "SetItemField" => {
            let holder = update.children.iter().find(|child| schema::Kind::of_element(&child.name).is_some());
            let values = holder.map_or(&[][..], |holder| &holder.children);
            let [value] = values else {
                return Err(Refusal::of(
                    "ErrorIncorrectUpdatePropertyCount",
                    "An object within a change description must contain one and only one property to modify.",
                ));
            };
            let named = match &path {
                Path::Field(name) | Path::Indexed { name, .. } => name.as_str(),
                Path::Extended { .. } => "ExtendedProperty",
            };
            if named != value.name {
                return Err(Refusal::of(
                    "ErrorUpdatePropertyMismatch",
                    "The property of the path is not the one of the value.",
                ));
            }
            fill::set(item, value, false)
        }
        "AppendToItemField" => {
            let value = update.children.iter().find_map(|child| child.children.first());
            match (value, &mut item.body) {
                (Some(value), Some(body)) if value.name == "Body" => {
                    body.text.push_str(&value.text);
                    Ok(())
                }
                (Some(value), _) => fill::set(item, value, false),
                (None, _) => Ok(()),
            }
        }
        _ => {
            delete(item, &path);
            Ok(())
        }
    }
}

fn delete(item: &mut Item, path: &Path) {
    match path {
        Path::Field(name) if name == "Body" => item.body = None,
        Path::Field(name) => item.remove(name),
        Path::Extended { key, .. } => {
            item.extended.remove(key);
        }
        Path::Indexed { name, part, key } => {
            let Some(mut all) = item.field(name).cloned() else { return };
            match part {
                None => all.children.retain(|entry| entry.value("Key") != Some(key)),
                Some(part) => {
                    for entry in all.children.iter_mut().filter(|entry| entry.value("Key") == Some(key)) {
                        entry.children.retain(|one| one.name != *part);
                    }
                    all.children.retain(|entry| !entry.children.is_empty());
                }
            }
            item.remove(name);
            if !all.children.is_empty() {
                item.set(all);
            }
        }
    }
}

fn fields(updates: &[Element]) -> impl Iterator<Item = Option<String>> {
    updates.iter().map(|update| match Path::within(update) {
        Some(Ok(Path::Field(name))) => Some(name),
        Some(Ok(Path::Extended { .. })) => Some("ExtendedProperty".to_owned()),
        _ => None,
    })
}

fn only_read(updates: &[Element]) -> bool {
    fields(updates).all(|name| name.as_deref() == Some("IsRead"))
}

fn only_marks(updates: &[Element]) -> bool {
    let marks = ["IsRead", "Categories", "Flag", "ExtendedProperty", "BccRecipients", "ReminderIsSet"];
    fields(updates).all(|name| name.is_some_and(|name| marks.contains(&name.as_str())))
}

fn conflict() -> Refusal {
    Refusal::of(
        "ErrorIrresolvableConflict",
        "The send or update operation could not be performed because the change key passed in the request does not \
         match the current change key for the item.",
    )
}

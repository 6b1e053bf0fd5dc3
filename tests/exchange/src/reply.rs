//! Response objects: items that are created in answer to another one.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/replytoitem> and its siblings.

use crate::body;
use crate::call::Call;
use crate::delivery;
use crate::item::{Change, Item, mailbox};
use crate::meeting;
use crate::render;
use crate::sent_copy;
use crate::soap::{Message, Refusal};
use crate::xml::Element;

const NAMES: [&str; 8] = [
    "ReplyToItem",
    "ReplyAllToItem",
    "ForwardItem",
    "AcceptItem",
    "TentativelyAcceptItem",
    "DeclineItem",
    "CancelCalendarItem",
    "SuppressReadReceipt",
];

pub(crate) fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(crate) fn answer(
    call: &mut Call<'_>,
    element: &Element,
    disposition: Option<&str>,
    given: Option<(usize, u64)>,
) -> Message {
    let id = element.child("ReferenceItemId").ok_or_else(|| {
        Refusal::of("ErrorMissingInformationReferenceItemId", "ReferenceItemId is missing.")
    })?;
    let (place, number) = call.item(id)?;
    let original = call.item_of((place, number))?.clone();
    let send = disposition != Some("SaveOnly");
    match element.name.as_str() {
        "AcceptItem" | "TentativelyAcceptItem" | "DeclineItem" => {
            let response = match element.name.as_str() {
                "AcceptItem" => "Accept",
                "TentativelyAcceptItem" => "Tentative",
                _ => "Decline",
            };
            let own = meeting::respond(call, place, &original, response, send);
            // The request has been answered: it goes to the deleted items.
            if original.class.to_lowercase().starts_with("ipm.schedule.meeting.request")
                && let Some(trash) = call.mailbox(place).distinguished("deleteditems")
            {
                call.state.relocate(place, number, place, trash)?;
            }
            let shown =
                own.and_then(|own| call.item_of((place, own)).ok()).map(|item| render::bare(place, item));
            Ok(vec![Element::m("Items").with_all(shown)])
        }
        "CancelCalendarItem" => {
            let mut item = original;
            let own = &call.mailbox(place).address;
            let lists = ["RequiredAttendees", "OptionalAttendees", "Resources"];
            let mut attendees = lists.iter().flat_map(|list| item.people(list));
            if attendees.all(|(_, address)| address.eq_ignore_ascii_case(own)) {
                return Err(Refusal::of("ErrorInvalidRecipients", "At least one recipient isn't valid."));
            }
            meeting::invite(call, place, &mut item, "Canceled", disposition == Some("SendAndSaveCopy"));
            let trash =
                call.mailbox(place).distinguished("deleteditems").ok_or_else(Refusal::folder_not_found)?;
            let moved = call.state.relocate(place, number, place, trash)?;
            let shown = render::bare(place, call.item_of((place, moved))?);
            Ok(vec![Element::m("Items").with(shown)])
        }
        "SuppressReadReceipt" => {
            call.state.touch(place, number, Change::Content, call.now);
            Ok(vec![Element::m("Items")])
        }
        _ => {
            let item = compose(call, element, &original, place);
            let own = call.acting.unwrap_or(place);
            let folder = |name: &str| {
                let folder = call.mailbox(own).distinguished(name);
                folder.map(|folder| (own, folder)).ok_or_else(Refusal::folder_not_found)
            };
            if !send {
                let to = match given {
                    Some(folder) => folder,
                    None => folder("drafts")?,
                };
                let number = call.state.put(to.0, to.1, Item { draft: true, read: true, ..item }, false);
                let shown = render::bare(to.0, call.item_of((to.0, number))?);
                return Ok(vec![Element::m("Items").with(shown)]);
            }
            let to = match given {
                Some(folder) => folder,
                None => folder("sentitems")?,
            };
            let copy = delivery::send(call.state, own, &call.login, item, call.now)?;
            if disposition == Some("SendAndSaveCopy") {
                sent_copy::keep(call.state, own, to, copy);
            }
            Ok(vec![Element::m("Items")])
        }
    }
}

fn compose(call: &Call<'_>, element: &Element, original: &Item, place: usize) -> Item {
    let own = &call.mailbox(place).address;
    let mut item = Item::new("IPM.Note", call.now);
    let subject = original.field_text("Subject").unwrap_or_default();
    let prefix = if element.name == "ForwardItem" { "FW" } else { "RE" };
    item.set_text("Subject", format!("{prefix}: {subject}"));
    if element.name != "ForwardItem" {
        let mut to = original.people("ReplyTo");
        if to.is_empty() {
            to = original.people("From");
        }
        let mut cc = Vec::new();
        if element.name == "ReplyAllToItem" {
            to.extend(original.people("ToRecipients"));
            cc = original.people("CcRecipients");
            to.retain(|(_, address)| !address.eq_ignore_ascii_case(own));
            cc.retain(|(_, address)| !address.eq_ignore_ascii_case(own));
        }
        for (name, people) in [("ToRecipients", to), ("CcRecipients", cc)] {
            if !people.is_empty() {
                let people = people.iter().map(|(name, address)| mailbox(name, address));
                item.set(Element::t(name).with_all(people));
            }
        }
        if let Some(id) = original.field_text("InternetMessageId") {
            let references = format!("{} {id}", original.field_text("References").unwrap_or_default());
            item.set_text("InReplyTo", id);
            item.set_text("References", references.trim());
        }
    }
    for child in &element.children {
        match child.name.as_str() {
            "Subject" | "ToRecipients" | "CcRecipients" | "BccRecipients" | "From" => item.set(child.clone()),
            _ => {}
        }
    }
    let new = element.child("NewBodyContent").or_else(|| element.child("Body")).map(body::parse);
    let old = body::element("Body", original.body.as_ref(), "Text").text;
    item.body = Some(match new {
        Some(new) if new.html => {
            let old = old.replace('&', "&amp;").replace('<', "&lt;");
            body_of(true, format!("{}<hr>{}", new.text, old.replace('\n', "<br>\n")))
        }
        Some(new) => body_of(false, format!("{}\r\n\r\n________________________________\r\n{old}", new.text)),
        None => body_of(false, format!("\r\n________________________________\r\n{old}")),
    });
    if element.name == "ForwardItem" {
        item.attachments.clone_from(&original.attachments);
    }
    item
}

fn body_of(html: bool, text: String) -> crate::item::Body {
    crate::item::Body { html, text }
}

//! Meetings: what an organizer's change sends to attendees, and what becomes of their calendars.
//!
//! <https://learn.microsoft.com/exchange/client-developer/exchange-web-services/calendars-and-ews-in-exchange>

use crate::call::Call;
use crate::item::{Change, Item, mailbox};
use crate::render;
use crate::xml::Element;

/// Sends a request or a cancellation to each attendee that has a mailbox here; `keep` keeps a copy in Sent Items.
pub(crate) fn invite(call: &mut Call<'_>, place: usize, item: &mut Item, what: &str, keep: bool) {
    let organizer = (call.mailbox(place).name.clone(), call.mailbox(place).address.clone());
    let attendees: Vec<(String, String)> = ["RequiredAttendees", "OptionalAttendees", "Resources"]
        .iter()
        .flat_map(|list| item.people(list))
        .filter(|(_, address)| !address.eq_ignore_ascii_case(&organizer.1))
        .collect();
    if attendees.is_empty() {
        return;
    }
    item.set_text("MeetingRequestWasSent", true);
    let mut message = item.clone();
    message.class = format!("IPM.Schedule.Meeting.{what}");
    message.search_key = model::clock::random_bytes();
    message.set(Element::t("From").with(mailbox(&organizer.0, &organizer.1)));
    message.set(Element::t("Sender").with(mailbox(&organizer.0, &organizer.1)));
    let to = attendees.iter().map(|(name, address)| mailbox(name, address));
    message.set(Element::t("ToRecipients").with_all(to));
    if what == "Request" {
        message.set_text("MeetingRequestType", "NewMeetingRequest");
    }
    for (_, address) in &attendees {
        let Some(attendee) = call.state.place_of(address) else { continue };
        let tentative = calendar(call, attendee, item, what);
        let Some(inbox) = call.mailbox(attendee).distinguished("inbox") else { continue };
        let mut copy = message.clone();
        if let Some(number) = tentative
            && let Ok(linked) = call.item_of((attendee, number))
        {
            let mut id = render::item_id(attendee, linked);
            "AssociatedCalendarItemId".clone_into(&mut id.name);
            copy.set(id);
        }
        call.state.put(attendee, inbox, copy, true);
    }
    if keep && let Some(sent) = call.mailbox(place).distinguished("sentitems") {
        message.read = true;
        message.from_me = true;
        call.state.put(place, sent, message, false);
    }
}

/// What the calendar assistant does in an attendee's calendar: an invitation is there tentatively.
fn calendar(call: &mut Call<'_>, place: usize, item: &Item, what: &str) -> Option<u64> {
    let folder = call.mailbox(place).distinguished("calendar")?;
    let uid = item.field_text("UID");
    let known = call
        .mailbox(place)
        .items_of(folder)
        .find(|known| known.field_text("UID") == uid)
        .map(|known| known.number);
    let mut copy = item.clone();
    copy.search_key = model::clock::random_bytes();
    copy.set_text("MyResponseType", "NoResponseReceived");
    copy.set_text("LegacyFreeBusyStatus", "Tentative");
    copy.set_text("AppointmentState", 3);
    if what == "Canceled" {
        copy.set_text("IsCancelled", true);
        copy.set_text("AppointmentState", 7);
    }
    match known {
        Some(number) => {
            let _ = call.change_item((place, number), |known| {
                known.fields = copy.fields;
                known.body = copy.body;
            });
            call.state.touch(place, number, Change::Content, call.now);
            Some(number)
        }
        None if what == "Canceled" => None,
        None => Some(call.state.put(place, folder, copy, false)),
    }
}

/// An attendee's answer: into the own calendar, and to the organizer. `response` is `Accept`, `Tentative` or `Decline`.
pub(crate) fn respond(
    call: &mut Call<'_>,
    place: usize,
    item: &Item,
    response: &str,
    send: bool,
) -> Option<u64> {
    let uid = item.field_text("UID").map(str::to_owned);
    let (own_name, own_address) = (call.mailbox(place).name.clone(), call.mailbox(place).address.clone());
    let folder = call.mailbox(place).distinguished("calendar")?;
    let own = call
        .mailbox(place)
        .items_of(folder)
        .find(|known| known.field_text("UID") == uid.as_deref())
        .map(|known| known.number);
    let organizer = item.people("Organizer").into_iter().next();
    if let Some(number) = own {
        if response == "Decline" {
            let trash = call.mailbox(place).distinguished("deleteditems")?;
            let _ = call.state.relocate(place, number, place, trash);
        } else {
            let _ = call.change_item((place, number), |known| {
                known.set_text("MyResponseType", response);
                let status = if response == "Accept" { "Busy" } else { "Tentative" };
                known.set_text("LegacyFreeBusyStatus", status);
            });
            call.state.touch(place, number, Change::Content, call.now);
        }
    }
    if let Some((name, address)) = organizer.filter(|_| send)
        && let Some(at) = call.state.place_of(&address)
    {
        let suffix = match response {
            "Accept" => "Pos",
            "Tentative" => "Tent",
            _ => "Neg",
        };
        let mut message = Item::new(&format!("IPM.Schedule.Meeting.Resp.{suffix}"), call.now);
        let word = match response {
            "Accept" => "Accepted",
            "Tentative" => "Tentative",
            _ => "Declined",
        };
        message.set_text("Subject", format!("{word}: {}", item.field_text("Subject").unwrap_or_default()));
        message.set_text("ResponseType", response);
        for name in ["UID", "Start", "End", "Location"] {
            if let Some(field) = item.field(name) {
                message.set(field.clone());
            }
        }
        message.set(Element::t("From").with(mailbox(&own_name, &own_address)));
        message.set(Element::t("Sender").with(mailbox(&own_name, &own_address)));
        message.set(Element::t("ToRecipients").with(mailbox(&name, &address)));
        if let Some(inbox) = call.mailbox(at).distinguished("inbox") {
            call.state.put(at, inbox, message, true);
        }
        heard(call, at, uid.as_deref(), &own_address, response);
    }
    own
}

/// Notes the answer among the attendees of the organizer's item.
fn heard(call: &mut Call<'_>, place: usize, uid: Option<&str>, who: &str, response: &str) {
    let Some(folder) = call.mailbox(place).distinguished("calendar") else { return };
    let number = call
        .mailbox(place)
        .items_of(folder)
        .find(|known| known.field_text("UID") == uid)
        .map(|known| known.number);
    let Some(number) = number else { return };
    let _ = call.change_item((place, number), |item| {
        for list in ["RequiredAttendees", "OptionalAttendees", "Resources"] {
            let Some(mut all) = item.field(list).cloned() else { continue };
            for attendee in &mut all.children {
                let address = attendee.at(&["Mailbox", "EmailAddress"]).map(|address| address.text.clone());
                if address.is_some_and(|address| address.eq_ignore_ascii_case(who)) {
                    attendee.children.retain(|child| child.name != "ResponseType");
                    attendee.children.push(Element::text("ResponseType", response));
                }
            }
            item.set(all);
        }
    });
    call.state.touch(place, number, Change::Content, call.now);
}

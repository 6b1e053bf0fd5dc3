//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/createitem-operation>

use crate::body;
use crate::call::Call;
use crate::delivery;
use crate::fill;
use crate::item::Item;
use crate::meeting;
use crate::render;
use crate::reply;
use crate::schema::Kind;
use crate::sent_copy;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::{Element, truth};

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let items = request.child("Items").ok_or_else(|| Fault::schema("'Items' is missing."))?;
    let disposition = request.value("MessageDisposition");
    let known = ["SaveOnly", "SendOnly", "SendAndSaveCopy"];
    if disposition.is_some_and(|asked| !known.contains(&asked)) {
        return Err(Fault::schema("The 'MessageDisposition' attribute is invalid."));
    }
    let mut messages = Vec::new();
    for element in &items.children {
        messages.push(one(call, request, element, disposition)?);
    }
    Ok(soap::answer("CreateItem", messages, &[Element::m("Items")]))
}

fn one(
    call: &mut Call<'_>,
    request: &Element,
    element: &Element,
    disposition: Option<&str>,
) -> Result<Message, Fault> {
    let given = request.child("SavedItemFolderId").map(|folder| call.folder_in(folder));
    let given = match given {
        None => None,
        Some(Ok(folder)) => Some(folder),
        Some(Err(refusal)) => return Ok(Err(refusal)),
    };
    if reply::is_one(&element.name) {
        return Ok(reply::answer(call, element, disposition, given));
    }
    let Some(place) = given.map(|(place, _)| place).or(call.acting) else {
        return Ok(Err(Refusal::of(
            "ErrorMissingEmailAddress",
            "When making a request as an account that does not have a mailbox, you must specify the mailbox primary \
             SMTP address for any distinguished folder Ids.",
        )));
    };
    let item = match fill::create(element, call.mailbox(place), call.now)? {
        Ok(item) => item,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(save(call, request, item, disposition, given, place))
}

fn save(
    call: &mut Call<'_>,
    request: &Element,
    mut item: Item,
    disposition: Option<&str>,
    given: Option<(usize, u64)>,
    place: usize,
) -> Message {
    let kind = item.kind();
    if kind == Kind::Message && disposition.is_none() {
        return Err(Refusal::of(
            "ErrorMessageDispositionRequired",
            "When creating an item of type Message, the MessageDisposition attribute is required.",
        ));
    }
    if call.state.options.rewrites_bodies {
        item.body = item.body.as_ref().map(body::rewritten);
        item.mime = None;
    }
    let default = |call: &Call<'_>, name: &str| {
        let own = call.acting.unwrap_or(place);
        call.mailbox(own)
            .distinguished(name)
            .map(|folder| (own, folder))
            .ok_or_else(Refusal::folder_not_found)
    };
    if kind == Kind::Message && disposition != Some("SaveOnly") {
        let sender = call.acting.unwrap_or(place);
        let to = match given {
            Some(folder) => folder,
            None => default(call, "sentitems")?,
        };
        let copy = delivery::send(call.state, sender, &call.login, item, call.now)?;
        if disposition == Some("SendAndSaveCopy") {
            sent_copy::keep(call.state, sender, to, copy);
        }
        return Ok(vec![Element::m("Items")]);
    }
    let (place, folder) = match given {
        Some(folder) => folder,
        None => default(
            call,
            match kind {
                Kind::Calendar => "calendar",
                Kind::Contact | Kind::List => "contacts",
                Kind::Task => "tasks",
                _ => "drafts",
            },
        )?,
    };
    // What is saved is a draft, unless PidTagMessageFlags said otherwise.
    let flags = item.extended.remove(&crate::property::Key::Tag(0x0e07));
    if kind.is_mail() && flags.is_none() {
        item.draft = true;
        // Its author has read it, unless told otherwise.
        item.read = item.field("IsRead").is_none_or(|read| truth(&read.text));
        item.remove("IsRead");
    }
    let invites = request.value("SendMeetingInvitations").unwrap_or("SendToNone").to_owned();
    if kind == Kind::Calendar && invites != "SendToNone" {
        meeting::invite(call, place, &mut item, "Request", invites == "SendToAllAndSaveCopy");
    }
    let number = call.state.put(place, folder, item, false);
    let shown = render::created(place, call.item_of((place, number))?);
    Ok(vec![Element::m("Items").with(shown)])
}

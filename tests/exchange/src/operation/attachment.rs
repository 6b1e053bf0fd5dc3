//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getattachment-operation>, and
//! `createattachment-operation` and `deleteattachment-operation` beside it.

use crate::call::Call;
use crate::fill;
use crate::id::{Id, change_key};
use crate::item::Change;
use crate::render;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn get(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("AttachmentShape"))?;
    let ids = request.child("AttachmentIds").ok_or_else(|| Fault::schema("'AttachmentIds' is missing."))?;
    let messages = ids.children.iter().map(|id| {
        let (place, item, number) = named(call, id)?;
        let mailbox = call.mailbox(place);
        let attachment = mailbox.attachment(item, number).ok_or_else(not_found)?;
        let shown = render::attachment(mailbox, mailbox.item(item)?, attachment, Some(&shape));
        Ok(vec![Element::m("Attachments").with(shown)])
    });
    Ok(soap::answer("GetAttachment", messages.collect(), &[Element::m("Attachments")]))
}

pub(super) fn create(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let parent = request.child("ParentItemId").ok_or_else(|| Fault::schema("'ParentItemId' is missing."))?;
    let all = request.child("Attachments").ok_or_else(|| Fault::schema("'Attachments' is missing."))?;
    let messages = all.children.iter().map(|one| attach(call, parent, one)).collect();
    Ok(soap::answer("CreateAttachment", messages, &[Element::m("Attachments")]))
}

fn attach(call: &mut Call<'_>, parent: &Element, element: &Element) -> Message {
    let at = call.item(parent)?;
    let attachment = fill::attachment(element, call.now)?;
    let number = attachment.number;
    call.change_item(at, |item| {
        item.attachments.push(attachment);
        item.mime = None;
    })?;
    call.state.touch(at.0, at.1, Change::Content, call.now);
    let version = call.item_of(at)?.version();
    let root = Id::Item { mailbox: at.0, number: at.1 }.encode();
    let id = Element::t("AttachmentId")
        .attribute("Id", Id::Attachment { mailbox: at.0, item: at.1, number }.encode())
        .attribute("RootItemId", root)
        .attribute("RootItemChangeKey", change_key(version));
    Ok(vec![Element::m("Attachments").with(Element::t(element.name.as_str()).with(id))])
}

pub(super) fn delete(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let ids = request.child("AttachmentIds").ok_or_else(|| Fault::schema("'AttachmentIds' is missing."))?;
    let messages = ids.children.iter().map(|id| detach(call, id)).collect();
    Ok(soap::answer("DeleteAttachment", messages, &[]))
}

fn detach(call: &mut Call<'_>, id: &Element) -> Message {
    let (place, item, number) = named(call, id)?;
    let known = call.mailbox(place).item(item)?.attachments.iter().any(|one| one.number == number);
    if !known {
        return Err(not_found());
    }
    call.change_item((place, item), |item| {
        item.attachments.retain(|one| one.number != number);
        item.mime = None;
    })?;
    call.state.touch(place, item, Change::Content, call.now);
    let version = call.item_of((place, item))?.version();
    let root = Element::m("RootItemId")
        .attribute("RootItemId", Id::Item { mailbox: place, number: item }.encode())
        .attribute("RootItemChangeKey", change_key(version));
    Ok(vec![root])
}

fn named(call: &Call<'_>, id: &Element) -> Result<(usize, u64, u64), Refusal> {
    match Id::decode(id.value("Id").unwrap_or_default()) {
        Some(Id::Attachment { mailbox, item, number }) => {
            call.allowed(mailbox)?;
            Ok((mailbox, item, number))
        }
        _ => Err(Refusal::malformed_id()),
    }
}

fn not_found() -> Refusal {
    Refusal::of("ErrorInvalidAttachmentId", "The specified attachment Id is invalid.")
}

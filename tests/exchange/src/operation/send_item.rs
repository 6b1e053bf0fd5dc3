//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/senditem-operation>

use crate::call::Call;
use crate::delivery;
use crate::id::change_key;
use crate::sent_copy;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let save = match request.value("SaveItemToFolder") {
        Some(_) => request.says("SaveItemToFolder"),
        None => return Err(Fault::schema("The required attribute 'SaveItemToFolder' is missing.")),
    };
    let ids = request.child("ItemIds").ok_or_else(|| Fault::schema("'ItemIds' is missing."))?;
    let folder = request.child("SavedItemFolderId");
    let messages = ids.children.iter().map(|id| one(call, id, save, folder)).collect();
    Ok(soap::answer("SendItem", messages, &[]))
}

fn one(call: &mut Call<'_>, id: &Element, save: bool, folder: Option<&Element>) -> Message {
    if !save && folder.is_some() {
        return Err(Refusal::of(
            "ErrorInvalidSendItemSaveSettings",
            "A folder to save to was given, and saving was switched off.",
        ));
    }
    let (place, number) = call.item(id)?;
    let item = call.item_of((place, number))?;
    let Some(key) = id.value("ChangeKey").filter(|key| !key.is_empty()) else {
        return Err(Refusal::of("ErrorChangeKeyRequired", "A change key is required for this operation."));
    };
    if key != change_key(item.version()) {
        return Err(Refusal::of(
            "ErrorStaleObject",
            "The object was changed since it was read: its change key is not current.",
        ));
    }
    if !item.kind().is_mail() {
        return Err(Refusal::of(
            "ErrorInvalidItemForOperationSendItem",
            "Items of this class cannot be sent.",
        ));
    }
    let to = if let Some(folder) = folder {
        call.folder_in(folder)?
    } else {
        // The default is the Sent Items of whoever sends, not of the mailbox that the draft is in.
        let own = call.acting.unwrap_or(place);
        (own, call.mailbox(own).distinguished("sentitems").ok_or_else(Refusal::folder_not_found)?)
    };
    let draft = item.clone();
    let sender = call.acting.unwrap_or(place);
    let copy = delivery::send(call.state, sender, &call.login, draft, call.now)?;
    call.state.remove(place, number)?;
    if save {
        sent_copy::keep(call.state, sender, to, copy);
    }
    Ok(Vec::new())
}

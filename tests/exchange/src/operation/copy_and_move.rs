//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/moveitem-operation> and
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/copyitem-operation>: either way the item
//! has another id afterwards; its search key stays.

use crate::call::Call;
use crate::render;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let to = request.child("ToFolderId").ok_or_else(|| Fault::schema("'ToFolderId' is missing."))?;
    let ids = request.child("ItemIds").ok_or_else(|| Fault::schema("'ItemIds' is missing."))?;
    let to = call.folder_in(to);
    let copies = request.name == "CopyItem";
    let mut messages = Vec::new();
    for id in &ids.children {
        messages.push(one(call, id, to.clone(), copies));
    }
    Ok(soap::answer(&request.name, messages, &[Element::m("Items")]))
}

fn one(call: &mut Call<'_>, id: &Element, to: Result<(usize, u64), Refusal>, copies: bool) -> Message {
    let (to, folder) = to.map_err(|refusal| match refusal.code.as_str() {
        "ErrorFolderNotFound" => {
            Refusal::of("ErrorToFolderNotFound", "The destination folder was not found.")
        }
        _ => refusal,
    })?;
    let (place, number) = call.item(id)?;
    let new = if copies {
        let copy = call.item_of((place, number))?.clone();
        let old = (number, copy.folder);
        let new = call.state.put(to, folder, copy, false);
        call.copied(to, new, folder, old);
        new
    } else {
        call.state.relocate(place, number, to, folder)?
    };
    let shown = render::bare(to, call.item_of((to, new))?);
    Ok(vec![Element::m("Items").with(shown)])
}

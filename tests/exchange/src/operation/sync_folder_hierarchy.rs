//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/syncfolderhierarchy-operation>

use crate::call::Call;
use crate::fault::Fault as Switch;
use crate::render;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message, Refusal};
use crate::sync_state::SyncState;
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("FolderShape"))?;
    let empty = [Element::m("SyncState"), Element::m("IncludesLastFolderInRange").saying(true)];
    Ok(soap::answer("SyncFolderHierarchy", vec![changes(call, request, &shape)], &empty))
}

fn changes(call: &Call<'_>, request: &Element, shape: &Shape) -> Message {
    let (place, top) = match request.child("SyncFolderId") {
        Some(folder) => call.folder_in(folder)?,
        None => call.folder(&Element::t("DistinguishedFolderId").attribute("Id", "root"))?,
    };
    let mailbox = call.mailbox(place);
    let since = match request.child_text("SyncState").filter(|state| !state.is_empty()) {
        None => 0,
        Some(_) if call.meets(&Switch::SyncStateInvalid) => return Err(invalid()),
        Some(state) => match SyncState::decode(state) {
            Some(state) if state.place == place && state.folder == top => state.position,
            _ => return Err(invalid()),
        },
    };
    let mut changes = Vec::new();
    for number in mailbox.below(top) {
        let folder = mailbox.folder(number)?;
        if folder.changed > since {
            let kind = if folder.entered > since { "Create" } else { "Update" };
            let shown = render::folder(mailbox, folder, shape, call.version);
            changes.push((folder.changed, Element::t(kind).with(shown)));
        }
    }
    for (number, entered, at) in &mailbox.gone {
        if *entered <= since && *at > since {
            let id = crate::id::Id::Folder { mailbox: place, number: *number }.encode();
            let id =
                Element::t("FolderId").attribute("Id", id).attribute("ChangeKey", crate::id::change_key(*at));
            changes.push((*at, Element::t("Delete").with(id)));
        }
    }
    changes.sort_by_key(|(at, _)| *at);
    let now = call.state.sequence();
    let state = SyncState { place, folder: top, position: now, base: now, until: now };
    Ok(vec![
        Element::m("SyncState").saying(state.encode()),
        Element::m("IncludesLastFolderInRange").saying(true),
        Element::m("Changes").with_all(changes.into_iter().map(|(_, change)| change)),
    ])
}

fn invalid() -> Refusal {
    Refusal::of("ErrorInvalidSyncStateData", "The SyncState data is corrupted or otherwise invalid.")
}

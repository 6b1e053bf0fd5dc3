//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/syncfolderitems-operation>

use crate::call::Call;
use crate::fault::Fault as Switch;
use crate::id::{Id, change_key};
use crate::item::{Change, Item};
use crate::mailbox::Mailbox;
use crate::render;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message, Refusal};
use crate::sync_state::SyncState;
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("ItemShape"))?.without_content();
    let most: usize = request
        .child_text("MaxChangesReturned")
        .and_then(|most| most.trim().parse().ok())
        .filter(|most| (1..=512).contains(most))
        .ok_or_else(|| {
            Fault::schema("The 'MaxChangesReturned' element is invalid - it must be between 1 and 512.")
        })?;
    let empty = [Element::m("SyncState"), Element::m("IncludesLastItemInRange").saying(true)];
    Ok(soap::answer("SyncFolderItems", vec![changes(call, request, &shape, most)], &empty))
}

fn changes(call: &Call<'_>, request: &Element, shape: &Shape, most: usize) -> Message {
    let folder = request.child("SyncFolderId").ok_or_else(Refusal::folder_not_found)?;
    let (place, number) = call.folder_in(folder)?;
    let mailbox = call.mailbox(place);
    let folder = mailbox.folder(number)?;
    let now = call.state.sequence();
    let state = match request.child_text("SyncState").filter(|state| !state.trim().is_empty()) {
        None => SyncState { place, folder: number, position: 0, base: 0, until: now },
        Some(_) if call.meets(&Switch::SyncStateInvalid) => return Err(invalid()),
        Some(state) => match SyncState::decode(state) {
            // A run that has come to its end begins the next one here.
            Some(state) if state.place == place && state.folder == number => {
                if state.position >= state.until {
                    SyncState { base: state.until, until: now, ..state }
                } else {
                    state
                }
            }
            _ => return Err(invalid()),
        },
    };
    let ignored: Vec<u64> = request
        .child("Ignore")
        .map_or(&[][..], |ignore| &ignore.children)
        .iter()
        .filter_map(|id| match Id::decode(id.value("Id")?) {
            Some(Id::Item { number, .. }) => Some(number),
            _ => None,
        })
        .collect();
    let associated = request.child_text("SyncScope") == Some("NormalAndAssociatedItems");

    let mut found: Vec<(u64, Element)> = Vec::new();
    let mut places: Vec<(u64, Found<'_>)> = Vec::new();
    for item in mailbox.items.values() {
        if item.folder != number || item.associated && !associated || item.occurrence_of.is_some() {
            continue;
        }
        if let Some(at) = position(item, &state) {
            places.push((at, Found::Item(item)));
        }
    }
    for (gone, entered, at) in &folder.gone {
        // Only what the client can know of is told to be gone.
        if *entered <= state.base && *at > state.position && *at <= state.until {
            places.push((*at, Found::Gone(*gone)));
        }
    }
    places.sort_by_key(|(at, _)| *at);
    let more = places.len() > most.min(call.state.options.max_changes);
    places.truncate(most.min(call.state.options.max_changes));
    let position = if more { places.last().map_or(state.until, |(at, _)| *at) } else { state.until };
    for (at, what) in places {
        let change = match what {
            Found::Item(item) if ignored.contains(&item.number) => continue,
            Found::Item(item) => change(mailbox, item, &state, shape),
            Found::Gone(number) => {
                let id = Id::Item { mailbox: place, number }.encode();
                let id = Element::t("ItemId").attribute("Id", id).attribute("ChangeKey", change_key(at));
                Element::t("Delete").with(id)
            }
        };
        if call.meets(&Switch::DuplicatedChanges) {
            found.push((at, change.clone()));
        }
        found.push((at, change));
    }
    let next = SyncState { position, ..state };
    Ok(vec![
        Element::m("SyncState").saying(next.encode()),
        Element::m("IncludesLastItemInRange").saying(!more),
        Element::m("Changes").with_all(found.into_iter().map(|(_, change)| change)),
    ])
}

enum Found<'a> {
    Item(&'a Item),
    Gone(u64),
}

/// Where in the run an item stands, if it changed in it: its last change before the run began.
fn position(item: &Item, state: &SyncState) -> Option<u64> {
    let all = std::iter::once(item.entered).chain(item.changes.iter().map(|(at, _)| *at));
    all.filter(|at| *at <= state.until).max().filter(|at| *at > state.position)
}

fn change(mailbox: &Mailbox, item: &Item, state: &SyncState, shape: &Shape) -> Element {
    if item.entered > state.base {
        return Element::t("Create").with(render::item(mailbox, item, shape));
    }
    let only_read = item
        .changes
        .iter()
        .filter(|(at, _)| *at > state.base && *at <= state.until)
        .all(|(_, change)| *change == Change::ReadFlag);
    if only_read {
        Element::t("ReadFlagChange")
            .with(render::item_id(mailbox.place, item))
            .with(Element::text("IsRead", item.read))
    } else {
        Element::t("Update").with(render::item(mailbox, item, shape))
    }
}

fn invalid() -> Refusal {
    Refusal::of("ErrorInvalidSyncStateData", "The SyncState data is corrupted or otherwise invalid.")
}

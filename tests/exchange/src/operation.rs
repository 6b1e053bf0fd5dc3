//! The operations of Exchange Web Services, one file each; here is only which file answers which request.

mod attachment;
mod configuration;
mod convert_id;
mod copy_and_move;
mod create_item;
mod delete_item;
mod directory;
mod find_folder;
mod find_item;
mod folder;
mod get_events;
mod get_folder;
mod get_item;
mod send_item;
pub(crate) mod streaming;
mod subscribe;
mod sync_folder_hierarchy;
mod sync_folder_items;
mod time_zones;
mod update_item;

use crate::call::Call;
use crate::schema;
use crate::soap::Fault;
use crate::xml::Element;

/// Answers one request with the element in the answer's body.
pub(crate) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    schema::check(request)?;
    match request.name.as_str() {
        "GetFolder" => get_folder::answer(call, request),
        "FindFolder" => find_folder::answer(call, request),
        "SyncFolderHierarchy" => sync_folder_hierarchy::answer(call, request),
        "CreateFolder" => folder::create(call, request),
        "UpdateFolder" => folder::update(call, request),
        "MoveFolder" => folder::relocate(call, request),
        "DeleteFolder" => folder::delete(call, request),
        "EmptyFolder" => folder::empty(call, request),
        "GetItem" => get_item::answer(call, request),
        "FindItem" => find_item::answer(call, request),
        "CreateItem" => create_item::answer(call, request),
        "UpdateItem" => update_item::answer(call, request),
        "DeleteItem" => delete_item::answer(call, request),
        "MoveItem" | "CopyItem" => copy_and_move::answer(call, request),
        "SendItem" => send_item::answer(call, request),
        "SyncFolderItems" => sync_folder_items::answer(call, request),
        "GetAttachment" => attachment::get(call, request),
        "CreateAttachment" => attachment::create(call, request),
        "DeleteAttachment" => attachment::delete(call, request),
        "Subscribe" => Ok(subscribe::answer(call, request)),
        "Unsubscribe" => Ok(subscribe::end(call, request)),
        "GetEvents" => Ok(get_events::answer(call, request)),
        "ResolveNames" => directory::resolve(call, request),
        "ExpandDL" => directory::expand(call, request),
        "GetServerTimeZones" => Ok(time_zones::answer(request)),
        "ConvertId" => convert_id::answer(call, request),
        "GetUserConfiguration" => Ok(configuration::get(call, request)),
        "CreateUserConfiguration" => Ok(configuration::create(call, request)),
        "UpdateUserConfiguration" => Ok(configuration::update(call, request)),
        "DeleteUserConfiguration" => Ok(configuration::delete(call, request)),
        other => Err(Fault::of("ErrorInvalidRequest", format!("The request '{other}' is not known here."))),
    }
}

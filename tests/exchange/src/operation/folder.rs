//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/createfolder-operation>, and
//! `updatefolder-operation`, `deletefolder-operation` and `emptyfolder-operation` beside it.

use std::collections::BTreeMap;

use crate::call::Call;
use crate::mailbox::Folder;
use crate::property;
use crate::render;
use crate::schema::Path;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::{Element, truth};

pub(super) fn create(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let parent =
        request.child("ParentFolderId").ok_or_else(|| Fault::schema("'ParentFolderId' is missing."))?;
    let folders = request.child("Folders").ok_or_else(|| Fault::schema("'Folders' is missing."))?;
    let messages = folders.children.iter().map(|folder| create_one(call, parent, folder)).collect();
    Ok(soap::answer("CreateFolder", messages, &[Element::m("Folders")]))
}

fn create_one(call: &mut Call<'_>, parent: &Element, given: &Element) -> Message {
    let (place, parent) = call.folder_in(parent).map_err(|refusal| match refusal.code.as_str() {
        "ErrorFolderNotFound" => Refusal::of("ErrorParentFolderNotFound", "The parent folder was not found."),
        _ => refusal,
    })?;
    let name = given.child_text("DisplayName").unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        return Err(Refusal::of("ErrorFolderSave", "The folder save operation failed: it has no name."));
    }
    exists(call, place, parent, &name, None)?;
    let class = given.child_text("FolderClass").map_or_else(
        || {
            match given.name.as_str() {
                "CalendarFolder" => "IPF.Appointment",
                "ContactsFolder" => "IPF.Contact",
                "TasksFolder" => "IPF.Task",
                // A plain folder that is given no class has none.
                _ => "",
            }
            .to_owned()
        },
        |class| class.trim().to_owned(),
    );
    let mut extended = BTreeMap::new();
    for property in given.children.iter().filter(|child| child.name == "ExtendedProperty") {
        let (key, value) = property::parse(property)?;
        extended.insert(key, value);
    }
    let number = call.state.tick();
    let folder = Folder {
        number,
        parent: Some(parent),
        name,
        class,
        distinguished: None,
        extended,
        entered: number,
        changed: number,
        gone: Vec::new(),
    };
    call.state.mailboxes[place].folders.insert(number, folder);
    shown(call, place, number)
}

pub(super) fn update(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let changes =
        request.child("FolderChanges").ok_or_else(|| Fault::schema("'FolderChanges' is missing."))?;
    let messages = changes.children.iter().map(|change| update_one(call, change)).collect();
    Ok(soap::answer("UpdateFolder", messages, &[Element::m("Folders")]))
}

fn update_one(call: &mut Call<'_>, change: &Element) -> Message {
    let (place, number) = call.folder_in(change).map_err(|refusal| match refusal.code.as_str() {
        "ErrorFolderNotFound" => Refusal::item_not_found(),
        _ => refusal,
    })?;
    let mut folder = call.folder_of((place, number))?.clone();
    for update in change.child("Updates").map_or(&[][..], |updates| &updates.children) {
        let path = Path::within(update).ok_or_else(Refusal::malformed_id)??;
        let value = update.children.iter().find_map(|child| child.children.first());
        match (update.name.as_str(), path, value) {
            ("SetFolderField", Path::Field(name), Some(value)) => match name.as_str() {
                "DisplayName" => {
                    if folder.distinguished.is_some() {
                        return Err(Refusal::of(
                            "ErrorFolderSavePropertyError",
                            "A distinguished folder cannot be renamed.",
                        ));
                    }
                    if let Some(parent) = folder.parent {
                        exists(call, place, parent, &value.text, Some(number))?;
                    }
                    folder.name.clone_from(&value.text);
                }
                "FolderClass" if folder.class != value.text => {
                    return Err(Refusal::of(
                        "ErrorObjectTypeChanged",
                        "The folder's class cannot be changed.",
                    ));
                }
                _ => {}
            },
            ("SetFolderField", Path::Extended { .. }, Some(value)) => {
                let (key, value) = property::parse(value)?;
                folder.extended.insert(key, value);
            }
            (_, Path::Extended { key, .. }, _) => {
                folder.extended.remove(&key);
            }
            _ => {}
        }
    }
    folder.changed = call.state.tick();
    call.state.mailboxes[place].folders.insert(number, folder);
    shown(call, place, number)
}

/// `movefolder-operation`: a folder keeps its id.
pub(super) fn relocate(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let to = request.child("ToFolderId").ok_or_else(|| Fault::schema("'ToFolderId' is missing."))?;
    let ids = request.child("FolderIds").ok_or_else(|| Fault::schema("'FolderIds' is missing."))?;
    let messages = ids.children.iter().map(|id| relocate_one(call, id, to)).collect();
    Ok(soap::answer("MoveFolder", messages, &[Element::m("Folders")]))
}

fn relocate_one(call: &mut Call<'_>, id: &Element, to: &Element) -> Message {
    let (to_place, to) = call.folder_in(to)?;
    let (place, number) = call.folder(id)?;
    let within = number == to || call.mailbox(place).below(number).contains(&to);
    if place != to_place || within || call.folder_of((place, number))?.distinguished.is_some() {
        return Err(Refusal::of("ErrorMoveCopyFailed", "The folder cannot be moved there."));
    }
    let name = call.folder_of((place, number))?.name.clone();
    exists(call, place, to, &name, Some(number))?;
    let at = call.state.tick();
    if let Some(folder) = call.state.mailboxes[place].folders.get_mut(&number) {
        folder.parent = Some(to);
        folder.changed = at;
    }
    shown(call, place, number)
}

pub(super) fn delete(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let ids = request.child("FolderIds").ok_or_else(|| Fault::schema("'FolderIds' is missing."))?;
    let trash = request.value("DeleteType") == Some("MoveToDeletedItems");
    let messages = ids.children.iter().map(|id| delete_one(call, id, trash)).collect();
    Ok(soap::answer("DeleteFolder", messages, &[]))
}

fn delete_one(call: &mut Call<'_>, id: &Element, trash: bool) -> Message {
    let (place, number) = call.folder(id)?;
    if call.folder_of((place, number))?.distinguished.is_some() {
        return Err(Refusal::of(
            "ErrorDeleteDistinguishedFolder",
            "Distinguished folders cannot be deleted.",
        ));
    }
    if trash {
        let to = call.mailbox(place).distinguished("deleteditems");
        let at = call.state.tick();
        if let Some(folder) = call.state.mailboxes[place].folders.get_mut(&number) {
            folder.parent = to;
            folder.changed = at;
        }
    } else {
        call.state.remove_folder(place, number);
    }
    Ok(Vec::new())
}

pub(super) fn empty(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let ids = request.child("FolderIds").ok_or_else(|| Fault::schema("'FolderIds' is missing."))?;
    let how = request.value("DeleteType").unwrap_or("HardDelete").to_owned();
    let below = request.value("DeleteSubFolders").is_some_and(truth);
    let messages = ids.children.iter().map(|id| empty_one(call, id, &how, below)).collect();
    Ok(soap::answer("EmptyFolder", messages, &[]))
}

fn empty_one(call: &mut Call<'_>, id: &Element, how: &str, below: bool) -> Message {
    let (place, number) = call.folder(id)?;
    let trash = call.mailbox(place).distinguished("deleteditems");
    let to = trash.filter(|trash| how == "MoveToDeletedItems" && *trash != number);
    let items: Vec<u64> = call.mailbox(place).items_of(number).map(|item| item.number).collect();
    for item in items {
        match to {
            Some(to) => {
                call.state.relocate(place, item, place, to)?;
            }
            None => {
                call.state.remove(place, item)?;
            }
        }
    }
    if below {
        let children: Vec<u64> = call
            .mailbox(place)
            .children(number)
            .filter(|child| child.distinguished.is_none())
            .map(|child| child.number)
            .collect();
        for child in children {
            call.state.remove_folder(place, child);
        }
    }
    Ok(Vec::new())
}

fn exists(call: &Call<'_>, place: usize, parent: u64, name: &str, own: Option<u64>) -> Result<(), Refusal> {
    let mut siblings = call.mailbox(place).children(parent);
    let other = siblings.find(|folder| folder.name.eq_ignore_ascii_case(name) && Some(folder.number) != own);
    match other {
        Some(_) => Err(Refusal::of(
            "ErrorFolderExists",
            &format!("A folder with the specified name already exists., Could not create folder '{name}'."),
        )),
        None => Ok(()),
    }
}

fn shown(call: &Call<'_>, place: usize, number: u64) -> Message {
    let folder = call.folder_of((place, number))?;
    let bare = crate::schema::Shape::of_base("IdOnly");
    let folder = render::folder(call.mailbox(place), folder, &bare, crate::version::Version::Exchange2007);
    Ok(vec![Element::m("Folders").with(folder)])
}

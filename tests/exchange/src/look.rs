//! What a test sees of the items in a mailbox, and what it does to them in their owner's place.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::id::Id;
use crate::item::{Change, Item};
use crate::mailbox::{Folder, Mailbox};
use crate::mime;
use crate::state::State;

/// An item as a test sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Its present id.
    pub id: String,
    /// Its class.
    pub class: String,
    /// Its subject.
    pub subject: String,
    /// The address it is from; empty when it has none.
    pub from: String,
    /// To, Cc and Bcc in lower case.
    pub recipients: Vec<String>,
    /// Those of Bcc alone.
    pub bcc: Vec<String>,
    /// In angle brackets; empty when it has none.
    pub message_id: String,
    /// `PidTagSearchKey`.
    pub search_key: Vec<u8>,
    /// Whether it was read.
    pub read: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// When it was received.
    pub received: Timestamp,
    /// The message.
    pub mime: Vec<u8>,
    /// Named extended properties: the property set, the name, the value.
    pub extended: Vec<(String, String, String)>,
}

/// What is in a folder, oldest first.
pub(crate) fn folder(mailbox: &Mailbox, path: &str) -> Vec<Shown> {
    let Some(number) = mailbox.find(path) else { panic!("no folder {path} in {}", mailbox.address) };
    let mut items: Vec<&Item> = mailbox.items_of(number).collect();
    items.sort_by_key(|item| item.number);
    items.into_iter().map(|item| shown(mailbox, item)).collect()
}

fn shown(mailbox: &Mailbox, item: &Item) -> Shown {
    let text = |name: &str| item.field_text(name).unwrap_or_default().to_owned();
    let extended = item.extended.iter().filter_map(|(key, value)| match key {
        crate::property::Key::Named { set, name } => Some((set.clone(), name.clone(), value.texts.join(","))),
        _ => None,
    });
    Shown {
        id: Id::Item { mailbox: mailbox.place, number: item.number }.encode(),
        class: item.class.clone(),
        subject: text("Subject"),
        from: item.people("From").into_iter().next().map(|(_, address)| address).unwrap_or_default(),
        recipients: item.recipients(),
        bcc: item.people("BccRecipients").into_iter().map(|(_, address)| address.to_lowercase()).collect(),
        message_id: text("InternetMessageId"),
        search_key: item.search_key.to_vec(),
        read: item.read,
        draft: item.draft,
        received: item.received,
        mime: mime::of_item(item),
        extended: extended.collect(),
    }
}

pub(crate) fn change(state: &mut State, id: &str, how: Change, change: impl FnOnce(&mut Item)) {
    let (place, number) = item(id);
    match state.mailboxes[place].items.get_mut(&number) {
        Some(item) => change(item),
        None => panic!("there is no such item any more"),
    }
    state.touch(place, number, how, model::clock::now());
}

pub(crate) fn relocate(state: &mut State, id: &str, folder: &str) -> String {
    let (place, number) = item(id);
    let Some(to) = state.mailboxes[place].find(folder) else { panic!("no folder {folder}") };
    match state.relocate(place, number, place, to) {
        Ok(number) => Id::Item { mailbox: place, number }.encode(),
        Err(refusal) => panic!("{}", refusal.text),
    }
}

pub(crate) fn remove(state: &mut State, id: &str) {
    let (place, number) = item(id);
    if let Err(refusal) = state.remove(place, number) {
        panic!("{}", refusal.text);
    }
}

pub(crate) fn add_folder(state: &mut State, place: usize, parent: &str, name: &str) {
    let number = state.tick();
    let mailbox = &mut state.mailboxes[place];
    let parent = mailbox.find(parent);
    assert!(parent.is_some(), "no folder to put {name} into");
    mailbox.folders.insert(
        number,
        Folder {
            number,
            parent,
            name: name.to_owned(),
            class: "IPF.Note".to_owned(),
            distinguished: None,
            extended: BTreeMap::default(),
            entered: number,
            changed: number,
            gone: Vec::new(),
        },
    );
}

pub(crate) fn change_folder(state: &mut State, place: usize, path: &str, change: impl FnOnce(&mut Folder)) {
    let Some(number) = state.mailboxes[place].find(path) else { panic!("no folder {path}") };
    let at = state.tick();
    if let Some(folder) = state.mailboxes[place].folders.get_mut(&number) {
        change(folder);
        folder.changed = at;
    }
}

fn item(id: &str) -> (usize, u64) {
    match Id::decode(id) {
        Some(Id::Item { mailbox, number }) => (mailbox, number),
        _ => panic!("this is no id of an item"),
    }
}

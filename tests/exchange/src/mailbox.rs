//! A mailbox: its folders, their items, and what is no longer there.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::item::{Attachment, Content, Item};
use crate::property::{Key, Value};
use crate::soap::Refusal;
use crate::xml::Element;

/// Folders that each mailbox has: distinguished name, display name, class, and the parent's distinguished name.
/// Those of archives and public folders are absent, as on most servers.
const FOLDERS: &[(&str, &str, &str, &str)] = &[
    ("root", "root", "", ""),
    ("msgfolderroot", "Top of Information Store", "", "root"),
    ("inbox", "Inbox", "IPF.Note", "msgfolderroot"),
    ("drafts", "Drafts", "IPF.Note", "msgfolderroot"),
    ("outbox", "Outbox", "IPF.Note", "msgfolderroot"),
    ("sentitems", "Sent Items", "IPF.Note", "msgfolderroot"),
    ("deleteditems", "Deleted Items", "IPF.Note", "msgfolderroot"),
    ("junkemail", "Junk Email", "IPF.Note", "msgfolderroot"),
    ("calendar", "Calendar", "IPF.Appointment", "msgfolderroot"),
    ("contacts", "Contacts", "IPF.Contact", "msgfolderroot"),
    ("tasks", "Tasks", "IPF.Task", "msgfolderroot"),
    ("notes", "Notes", "IPF.StickyNote", "msgfolderroot"),
    ("journal", "Journal", "IPF.Journal", "msgfolderroot"),
    ("conversationhistory", "Conversation History", "", "msgfolderroot"),
    ("syncissues", "Sync Issues", "", "msgfolderroot"),
    ("conflicts", "Conflicts", "", "syncissues"),
    ("localfailures", "Local Failures", "", "syncissues"),
    ("serverfailures", "Server Failures", "", "syncissues"),
    ("imcontactlist", "{A9E2BC46-B3A0-4243-B315-60D991004455}", "IPF.Contact.MOC.ImContactList", "contacts"),
    ("quickcontacts", "Skype for Business Contacts", "IPF.Contact.MOC.QuickContacts", "contacts"),
    ("recipientcache", "Recipient Cache", "IPF.Contact.RecipientCache", "contacts"),
    ("peopleconnect", "PeopleConnect", "", "contacts"),
    ("mycontacts", "MyContacts", "IPF.Note", "root"),
    ("favorites", "Favorites", "IPF.Note", "root"),
    ("todosearch", "To-Do Search", "IPF.Task", "root"),
    ("searchfolders", "Finder", "", "root"),
    ("voicemail", "Voice Mail", "IPF.Note.Microsoft.Voicemail", "searchfolders"),
    ("directory", "Directory", "", "root"),
    ("recoverableitemsroot", "Recoverable Items", "", "root"),
    ("recoverableitemsdeletions", "Deletions", "", "recoverableitemsroot"),
    ("recoverableitemsversions", "Versions", "", "recoverableitemsroot"),
    ("recoverableitemspurges", "Purges", "", "recoverableitemsroot"),
];

/// Folders beside the top that no client asks for by name.
const HIDDEN: &[&str] = &[
    "AllItems",
    "Common Views",
    "Deferred Action",
    "ExchangeSyncData",
    "Freebusy Data",
    "MailboxAssociations",
    "Reminders",
    "Schedule",
    "Sharing",
    "Shortcuts",
    "Spooler Queue",
    "System",
    "Views",
    "Working Set",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Folder {
    pub(crate) number: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: String,
    pub(crate) class: String,
    #[serde(deserialize_with = "known")]
    pub(crate) distinguished: Option<Known>,
    pub(crate) extended: BTreeMap<Key, Value>,
    pub(crate) entered: u64,
    pub(crate) changed: u64,
    /// Items that left it: their number, when they had come and when they went.
    pub(crate) gone: Vec<(u64, u64, u64)>,
}

/// A named bag of settings in a folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Configuration {
    pub(crate) number: u64,
    pub(crate) changed: u64,
    /// `Dictionary`, `XmlData` and `BinaryData`, as they came.
    pub(crate) parts: Vec<Element>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mailbox {
    /// Its place among the mailboxes.
    pub(crate) place: usize,
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) folders: BTreeMap<u64, Folder>,
    pub(crate) items: BTreeMap<u64, Item>,
    pub(crate) configurations: BTreeMap<(u64, String), Configuration>,
    /// Folders that were removed: number, when they had come and when they went.
    pub(crate) gone: Vec<(u64, u64, u64)>,
    /// Logins that may open it without impersonation.
    pub(crate) delegates: BTreeSet<String>,
    /// Logins that may send as it, or on its behalf.
    pub(crate) send_as: BTreeSet<String>,
    pub(crate) on_behalf: BTreeSet<String>,
    /// What every request for it is refused with, if anything: a code and a text.
    pub(crate) refuses: Option<(String, String)>,
}

/// A distinguished name, one of those that there are.
type Known = &'static str;

/// A distinguished name that was kept, as one of those that there are.
fn known<'de, D: Deserializer<'de>>(kept: D) -> Result<Option<&'static str>, D::Error> {
    let name = Option::<String>::deserialize(kept)?;
    Ok(name.and_then(|name| FOLDERS.iter().find(|folder| folder.0 == name).map(|folder| folder.0)))
}

impl Mailbox {
    /// An empty one; folders take their numbers from `number`.
    pub(crate) fn new(place: usize, address: &str, name: &str, mut number: impl FnMut() -> u64) -> Self {
        let mut folders: BTreeMap<u64, Folder> = BTreeMap::new();
        for (distinguished, display, class, parent) in FOLDERS {
            let parent = folders
                .values()
                .find(|folder| folder.distinguished == Some(*parent))
                .map(|folder| folder.number);
            let number = number();
            folders.insert(
                number,
                Folder {
                    number,
                    parent,
                    name: (*display).to_owned(),
                    class: (*class).to_owned(),
                    distinguished: Some(distinguished),
                    extended: BTreeMap::new(),
                    entered: number,
                    changed: number,
                    gone: Vec::new(),
                },
            );
        }
        let root = folders.values().find(|folder| folder.parent.is_none()).map(|root| root.number);
        for name in HIDDEN {
            let number = number();
            let folder = Folder {
                number,
                parent: root,
                name: (*name).to_owned(),
                class: String::new(),
                distinguished: None,
                extended: BTreeMap::new(),
                entered: number,
                changed: number,
                gone: Vec::new(),
            };
            folders.insert(number, folder);
        }
        Self {
            place,
            address: address.to_owned(),
            name: name.to_owned(),
            aliases: BTreeSet::new(),
            folders,
            items: BTreeMap::new(),
            configurations: BTreeMap::new(),
            gone: Vec::new(),
            delegates: BTreeSet::new(),
            send_as: BTreeSet::new(),
            on_behalf: BTreeSet::new(),
            refuses: None,
        }
    }

    pub(crate) fn is(&self, address: &str) -> bool {
        self.address.eq_ignore_ascii_case(address) || self.aliases.contains(&address.to_lowercase())
    }

    pub(crate) fn distinguished(&self, name: &str) -> Option<u64> {
        self.folders
            .values()
            .find(|folder| folder.distinguished.is_some_and(|known| known.eq_ignore_ascii_case(name)))
            .map(|folder| folder.number)
    }

    pub(crate) fn folder(&self, number: u64) -> Result<&Folder, Refusal> {
        self.folders.get(&number).ok_or_else(Refusal::folder_not_found)
    }

    /// A folder by its distinguished name or by its path below the top, `Projects/2026`.
    pub(crate) fn find(&self, path: &str) -> Option<u64> {
        if let Some(number) = self.distinguished(path) {
            return Some(number);
        }
        let mut at = self.distinguished("msgfolderroot")?;
        for name in path.split('/') {
            let mut children = self.folders.values().filter(|folder| folder.parent == Some(at));
            at = children.find(|folder| folder.name.eq_ignore_ascii_case(name))?.number;
        }
        Some(at)
    }

    pub(crate) fn children(&self, parent: u64) -> impl Iterator<Item = &Folder> {
        self.folders.values().filter(move |folder| folder.parent == Some(parent))
    }

    /// Everything below a folder, without the folder itself, parents first.
    pub(crate) fn below(&self, parent: u64) -> Vec<u64> {
        let mut all: Vec<u64> = Vec::new();
        let mut open = vec![parent];
        while let Some(at) = open.pop() {
            for child in self.children(at) {
                all.push(child.number);
                open.push(child.number);
            }
        }
        all.sort_unstable();
        all
    }

    pub(crate) fn item(&self, number: u64) -> Result<&Item, Refusal> {
        self.items.get(&number).ok_or_else(Refusal::item_not_found)
    }

    pub(crate) fn items_of(&self, folder: u64) -> impl Iterator<Item = &Item> {
        self.items
            .values()
            .filter(move |item| item.folder == folder && !item.associated && item.occurrence_of.is_none())
    }

    /// The attachment of an item, or of an item within it.
    pub(crate) fn attachment(&self, item: u64, number: u64) -> Option<&Attachment> {
        find_attachment(self.items.get(&item)?, number)
    }
}

fn find_attachment(item: &Item, number: u64) -> Option<&Attachment> {
    item.attachments.iter().find_map(|attachment| {
        if attachment.number == number {
            return Some(attachment);
        }
        match &attachment.content {
            Content::Item(inner) => find_attachment(inner, number),
            Content::File(_) => None,
        }
    })
}

//! An item of a mailbox, whatever its class: what it was given, what the server knows of it, and when it changed.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::keeping;
use crate::property::{Key, Value};
use crate::schema::Kind;
use crate::xml::Element;

/// How an item changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    Content,
    ReadFlag,
}

/// A body as it was given: Exchange keeps one form and makes the other of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) html: bool,
    pub(crate) text: String,
}

/// What hangs on an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attachment {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    pub(crate) content_id: Option<String>,
    pub(crate) content_location: Option<String>,
    pub(crate) inline: bool,
    pub(crate) modified: Timestamp,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    File(#[serde(with = "keeping::bytes")] Arc<[u8]>),
    Item(Box<Item>),
}

impl Attachment {
    /// A number that no other attachment has, within the item or anywhere.
    pub(crate) fn number() -> u64 {
        u64::from_be_bytes(model::clock::random_bytes())
    }

    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::File(bytes) => bytes.len(),
            Content::Item(item) => item.size(),
        }
    }
}

#[expect(clippy::struct_excessive_bools, reason = "marks of an item that have nothing to do with each other")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) number: u64,
    pub(crate) folder: u64,
    pub(crate) class: String,
    pub(crate) associated: bool,
    /// Elements of the schema that were given, each name once.
    pub(crate) fields: Vec<Element>,
    pub(crate) extended: BTreeMap<Key, Value>,
    pub(crate) body: Option<Body>,
    /// The message as it came; `None` when it is to be made of the fields.
    #[serde(with = "keeping::some_bytes")]
    pub(crate) mime: Option<Arc<[u8]>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) read: bool,
    pub(crate) draft: bool,
    pub(crate) from_me: bool,
    pub(crate) received: Timestamp,
    pub(crate) sent: Option<Timestamp>,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    /// `PidTagSearchKey`: stays when the item moves.
    pub(crate) search_key: [u8; 16],
    /// When it came into its folder and what happened to it since, by the server's sequence.
    pub(crate) entered: u64,
    pub(crate) changes: Vec<(u64, Change)>,
    /// Of a recurring master: the indexes of occurrences that were deleted.
    pub(crate) deleted: BTreeSet<u64>,
    /// Of an occurrence that was changed: its master and its index. It is in no listing.
    pub(crate) occurrence_of: Option<(u64, u64)>,
}

impl Item {
    pub(crate) fn new(class: &str, now: Timestamp) -> Self {
        Self {
            number: 0,
            folder: 0,
            class: class.to_owned(),
            associated: false,
            fields: Vec::new(),
            extended: BTreeMap::new(),
            body: None,
            mime: None,
            headers: Vec::new(),
            attachments: Vec::new(),
            read: false,
            draft: false,
            from_me: false,
            received: now,
            sent: None,
            created: now,
            modified: now,
            search_key: model::clock::random_bytes(),
            entered: 0,
            changes: Vec::new(),
            deleted: BTreeSet::new(),
            occurrence_of: None,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of_class(&self.class)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Element> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn field_text(&self, name: &str) -> Option<&str> {
        self.field(name).map(|field| field.text.as_str())
    }

    pub(crate) fn set(&mut self, field: Element) {
        self.fields.retain(|known| known.name != field.name);
        self.fields.push(field);
    }

    pub(crate) fn set_text(&mut self, name: &str, text: impl ToString) {
        self.set(Element::text(name, text));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.retain(|known| known.name != name);
    }

    /// The last sequence at which anything changed; its change key is made of it.
    pub(crate) fn version(&self) -> u64 {
        self.changes.last().map_or(self.entered, |(at, _)| *at)
    }

    pub(crate) fn size(&self) -> usize {
        let content = if let Some(mime) = &self.mime {
            mime.len()
        } else {
            let fields: usize = self.fields.iter().map(length).sum();
            fields
                + self.body.as_ref().map_or(0, |body| body.text.len())
                + self.attachments.iter().map(Attachment::size).sum::<usize>()
        };
        content + 512
    }

    /// The mailboxes named by a field of recipients, as (name, address).
    pub(crate) fn people(&self, field: &str) -> Vec<(String, String)> {
        let Some(field) = self.field(field) else { return Vec::new() };
        let mut people = Vec::new();
        collect(field, &mut people);
        people
    }

    /// To, Cc and Bcc together, as addresses in lower case.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let mut all: Vec<String> = ["ToRecipients", "CcRecipients", "BccRecipients"]
            .iter()
            .flat_map(|field| self.people(field))
            .map(|(_, address)| address.to_lowercase())
            .collect();
        all.dedup();
        all
    }
}

/// `<Mailbox>` with a name and an address.
pub(crate) fn mailbox(name: &str, address: &str) -> Element {
    let name = if name.is_empty() { address } else { name };
    Element::t("Mailbox")
        .with(Element::text("Name", name))
        .with(Element::text("EmailAddress", address))
        .with(Element::text("RoutingType", "SMTP"))
        .with(Element::text("MailboxType", "Mailbox"))
}

fn collect(element: &Element, people: &mut Vec<(String, String)>) {
    if element.name == "Mailbox" {
        if let Some(address) = element.child_text("EmailAddress") {
            let name = element.child_text("Name").unwrap_or_default();
            people.push((name.trim().to_owned(), address.trim().to_owned()));
        }
        return;
    }
    for child in &element.children {
        collect(child, people);
    }
}

fn length(element: &Element) -> usize {
    element.text.len() + element.children.iter().map(length).sum::<usize>()
}

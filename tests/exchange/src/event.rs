//! What happens in mailboxes, and who waits to hear of it.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/notification-ex15websvcsotherref>

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;

use crate::id::{Id, change_key};
use crate::mailbox::Mailbox;
use crate::time;
use crate::xml::Element;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Happening {
    NewMail,
    Created,
    Deleted,
    Modified,
    Moved,
    Copied,
}

impl Happening {
    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::NewMail => "NewMailEvent",
            Self::Created => "CreatedEvent",
            Self::Deleted => "DeletedEvent",
            Self::Modified => "ModifiedEvent",
            Self::Moved => "MovedEvent",
            Self::Copied => "CopiedEvent",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) what: Happening,
    pub(crate) when: Timestamp,
    pub(crate) watermark: u64,
    pub(crate) item: u64,
    pub(crate) folder: u64,
    /// Where it was before: item and folder.
    pub(crate) old: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) mailbox: usize,
    /// `None` is all folders.
    pub(crate) folders: Option<BTreeSet<u64>>,
    pub(crate) kinds: BTreeSet<String>,
    pub(crate) streaming: bool,
    pub(crate) queue: VecDeque<Event>,
    pub(crate) watermark: u64,
    /// The server that it is known to.
    pub(crate) backend: u32,
    /// Which of the connections that streamed it is the present one.
    pub(crate) listener: u64,
}

impl Subscription {
    pub(crate) fn waits_for(&self, event: &Event) -> bool {
        let folder = |number: u64| self.folders.as_ref().is_none_or(|folders| folders.contains(&number));
        self.kinds.contains(event.what.element())
            && (folder(event.folder) || event.old.is_some_and(|(_, old)| folder(old)))
    }
}

/// A watermark as clients see it.
pub(crate) fn watermark(number: u64) -> String {
    change_key(number)
}

/// `<m:Notification>` with what happened.
pub(crate) fn notification(
    id: &str,
    subscription: &Subscription,
    mailbox: &Mailbox,
    events: &VecDeque<Event>,
) -> Element {
    let mut element = Element::m("Notification").with(Element::text("SubscriptionId", id));
    if !subscription.streaming {
        element = element
            .with(Element::text("PreviousWatermark", watermark(subscription.watermark)))
            .with(Element::text("MoreEvents", false));
    }
    if events.is_empty() {
        let status = Element::t("StatusEvent");
        return element.with(if subscription.streaming {
            status
        } else {
            status.with(Element::text("Watermark", watermark(subscription.watermark)))
        });
    }
    element.with_all(events.iter().map(|event| self::event(event, subscription.streaming, mailbox)))
}

fn event(event: &Event, streaming: bool, mailbox: &Mailbox) -> Element {
    let place = mailbox.place;
    let item = |name: &str, number: u64| {
        let id = Id::Item { mailbox: place, number }.encode();
        let version = mailbox.items.get(&number).map_or(event.watermark, super::item::Item::version);
        Element::t(name).attribute("Id", id).attribute("ChangeKey", change_key(version))
    };
    let folder = |name: &str, number: u64| {
        let id = Id::Folder { mailbox: place, number }.encode();
        Element::t(name).attribute("Id", id).attribute("ChangeKey", change_key(number))
    };
    let mut element = Element::t(event.what.element());
    if !streaming {
        element = element.with(Element::text("Watermark", watermark(event.watermark)));
    }
    element = element
        .with(Element::text("TimeStamp", time::write(event.when)))
        .with(item("ItemId", event.item))
        .with(folder("ParentFolderId", event.folder));
    if let Some((old, old_folder)) = event.old {
        element = element.with(item("OldItemId", old)).with(folder("OldParentFolderId", old_folder));
    }
    element
}

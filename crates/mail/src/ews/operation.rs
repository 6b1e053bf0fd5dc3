//! What is asked of a server, one operation a file: the request as it goes over the wire, and what is read of its answer.

mod create_folder;
mod create_item;
mod delete_item;
mod find_folder;
mod find_item;
mod get_folder;
mod get_item;
mod get_item_content;
mod move_item;
mod resolve_names;
mod send_item;
mod streaming_events;
mod subscribe;
mod sync_folder_hierarchy;
mod sync_folder_items;
mod update_folder;
mod update_item;

pub use create_item::Draft;
pub use delete_item::Deletion;
pub use find_item::{Found, Search};
pub use get_item_content::{Body, Fetched, Fetching};
pub use resolve_names::{RecipientKind, Resolution};
pub use send_item::Sent;
pub use streaming_events::{Event, Events, Notice};
pub use subscribe::SubscriptionId;
pub use sync_folder_hierarchy::{FolderChange, HierarchyPage};
pub use sync_folder_items::{ItemChange, ItemPage};

use super::xml::Element;

/// The folders or items of a response message, of whatever kind.
fn listed<'a>(message: &'a Element, list: &str) -> &'a [Element] {
    message.child(list).map(Element::children).unwrap_or_default()
}

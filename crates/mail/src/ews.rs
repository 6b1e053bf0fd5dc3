//! Exchange Web Services (SOAP over HTTPS, MS-OXWSCDATA and its kin): mail in, mail out, folders and notifications, for
//! Exchange and every server that speaks as it does.
//!
//! It must never give credentials to anybody but the address that it was opened with, follow a redirect, or keep in memory
//! what a server says without a bound.
//!
//! ```no_run
//! # extern crate lockstep_mail as mail;
//! # use mail::ews::{Address, FolderRef, Identity, ItemChange, Session, Settings};
//! # use mail::Error;
//! # async fn example(address: Address, settings: Settings, identity: Identity<'_>, kept: Option<String>) -> Result<(), Error> {
//! let mut session = Session::open(&address, &settings, identity).await?;
//! let page = session.sync_folder_items(&FolderRef::Inbox, kept.as_deref(), 512).await?;
//! let new: Vec<_> = page
//!     .changes
//!     .iter()
//!     .filter_map(|change| match change {
//!         ItemChange::Created(item) => Some(item.id.clone()),
//!         _ => None,
//!     })
//!     .collect();
//! let mut fetching = session.get_items(&new, 25_000_000).await?;
//! while let Some((id, fetched)) = fetching.next().await? {
//!     println!("{id:?}: {fetched:?}");
//! }
//! // … commit what came together with `page.state`, and go on with the next page unless `page.last`.
//! session.close();
//! # Ok(())
//! # }
//! ```
//!
//! Errors: a refusal leaves the session usable ([`Session::is_usable`] tells), a deadline or a violation does not. What is
//! refused for a single message concerns that message alone. A call that is cancelled while it waits ends the session.

mod affinity;
mod answer;
pub(crate) mod ask;
pub mod autodiscover;
mod code;
mod content;
mod date;
mod envelope;
mod envelopes;
mod folder;
mod item;
mod lexer;
mod ntlm;
mod operation;
mod property;
mod session;
mod settings;
mod sign_in;
mod version;
mod xml;

pub use code::is_about_the_mailbox;
pub use folder::{Folder, FolderId, FolderRef, OwnerMark};
pub use item::{Item, ItemId};
pub use operation::{
    Body, Deletion, Draft, Event, Events, Fetched, Fetching, FolderChange, Found, HierarchyPage, ItemChange,
    ItemPage, Notice, RecipientKind, Resolution, Search, Sent, SubscriptionId,
};
pub use session::Session;
pub use settings::{Access, Identity, Limits, Schemes, Settings, Tally};
pub use version::{ServerVersion, UnknownVersion, Version};

pub use crate::http::{Address, BadAddress};

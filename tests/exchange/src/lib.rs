//! An Exchange to develop against: Exchange Web Services over HTTPS for any number of mailboxes, in memory, or in a file as well.
//!
//! What it does is taken from Microsoft's public pages, and proved by clients that nobody here wrote: exchangelib and
//! `DavMail` drive it in its tests. It is test equipment: it keeps no secret, forgets everything when it ends but mailboxes that it was told to keep, listens on
//! loopback only, and must never be part of the product.
//!
//! ```no_run
//! # async fn f() {
//! use exchange::{Exchange, Fault, Options, Rule};
//!
//! let exchange = Exchange::start(Options::default()).await;
//! exchange.add_mailbox("anna@example.org", "Anna", "secret");
//! exchange.deliver("anna@example.org", b"From: bert@example.net\r\nSubject: Hi\r\n\r\nHello\r\n");
//! exchange.fault(Rule::new(Fault::DropMidway).on("GetItem").times(1));
//! // … a client at exchange.url(), trusting exchange.ca_pem() …
//! assert_eq!(exchange.folder("anna@example.org", "inbox").len(), 1);
//! # }
//! ```

mod autodiscover;
mod body;
mod call;
mod certificates;
mod delivery;
mod error;
mod event;
mod exchange;
mod fault;
mod fill;
mod http;
mod id;
mod item;
mod keeping;
mod look;
mod mailbox;
mod meeting;
mod mime;
mod occurrence;
mod operation;
mod options;
mod property;
mod recurrence;
mod render;
mod reply;
mod report;
mod restriction;
mod schema;
mod sent_copy;
mod soap;
mod state;
mod sync_state;
mod time;
mod version;
mod xml;
mod zone;

pub use error::Error;
pub use exchange::Exchange;
pub use fault::{Fault, Rule};
pub use look::Shown;
pub use options::{Offer, Options, SentCopy};
pub use report::{Handed, Request};
pub use state::Connections;
pub use version::Version;

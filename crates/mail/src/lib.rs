//! Mail servers and mail itself: connections, POP3 in, SMTP out, Exchange Web Services both ways, the tokens that open
//! mailboxes, and messages taken apart and put together.
//!
//! It knows no database and no queue: what a failure means for a mailbox is decided above, by phase and kind.

pub mod error;
pub mod ews;
pub mod http;
pub mod mime;
pub mod oauth;
pub mod pop3;
mod sasl;
pub mod smtp;
pub mod transport;

pub use error::Error;
pub use sasl::Proof;

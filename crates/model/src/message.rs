//! An email as values: what a received message says, and what is to be sent.
//!
//! Nothing here parses or builds; every text in here was written by a stranger, so `Debug` shows counts and never
//! addresses, subjects or bodies.

mod outgoing;
mod parsed;

pub use outgoing::{NamedAddress, OutgoingAttachment, OutgoingMessage};
pub use parsed::{
    Importance, MESSAGE_ID_REUSED, ParseWarning, ParsedAttachment, ParsedMessage, Party, Sensitivity, meaning,
};

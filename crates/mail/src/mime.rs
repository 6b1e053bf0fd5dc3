//! Messages taken apart and put together: hostile bytes become a bounded value, a value becomes a clean message.
//!
//! Parsing never fails and never decides whether a message is kept; building never lets a Bcc or a line break of
//! the caller's into a header. The raw message is the truth, so what a limit cuts off here is not lost.

mod attachment;
mod body;
mod build;
mod content;
mod decode;
mod fields;
mod flowed;
mod html;
mod limits;
mod mask;
mod parameters;
mod parse;
mod parties;
mod split;
mod uuencode;
mod words;

pub use build::{
    BuildError, BuiltMessage, Cleanness, Content, Encoder, Encoding, Frame, Piece, build, frame,
    may_be_as_it_is,
};
pub use limits::Limits;
pub use parse::parse;

//! From a value to the bytes that leave: 7-bit clean, one header of each kind, and never a Bcc among them.
//!
//! The same value gives the same bytes, so that a message can be built again for each try.

mod check;
mod file;
mod frame;
mod parts;

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::HeaderType;
use mail_builder::headers::address::Address;
use mail_builder::headers::date::Date;
use mail_builder::headers::message_id::MessageId;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use model::address::EmailAddress;
use model::message::{Importance, NamedAddress, OutgoingMessage};

pub use check::BuildError;
use check::is_id;
pub use file::{Cleanness, Content, Encoder, Encoding, may_be_as_it_is};
pub use frame::{Frame, Piece, frame};

/// How many ids of a conversation go along; clients thread by the youngest.
const REFERENCES: usize = 100;

/// A message ready for a server, and what the server must be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltMessage {
    /// The message, lines ended by CRLF, none longer than 998 bytes (RFC 5322 section 2.1.1). Not dot-stuffed.
    pub bytes: Bytes,
    /// Needs 8BITMIME (RFC 6152). Bodies never do; only addresses beyond ASCII in the header make it so.
    pub needs_eight_bit: bool,
    /// Needs SMTPUTF8 (RFC 6531): an address of the envelope or the header is not ASCII.
    pub needs_utf8: bool,
    /// The size in bytes, as SIZE asks for it (RFC 1870).
    pub size: usize,
    /// To, Cc and Bcc in order, each address once by its normal form.
    pub recipients: Vec<EmailAddress>,
}

/// Builds a message, or says which field cannot be sent and why. Ask it early: nothing that it refuses is worth a
/// connection.
pub fn build(message: &OutgoingMessage) -> Result<BuiltMessage, BuildError> {
    let contents: Vec<_> = message.attachments.iter().map(Content::of).collect();
    let frame = frame(message, &contents)?;
    Ok(BuiltMessage {
        needs_eight_bit: frame.needs_eight_bit,
        needs_utf8: frame.needs_utf8,
        recipients: frame.recipients,
        bytes: whole(frame.pieces, message),
        size: usize::try_from(frame.size).unwrap_or(usize::MAX),
    })
}

/// A message with its files in their places.
fn whole(mut pieces: Vec<Piece>, message: &OutgoingMessage) -> Bytes {
    if let [Piece::Bytes(bytes)] = pieces.as_mut_slice() {
        return std::mem::take(bytes);
    }
    let mut whole = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => whole.extend_from_slice(&bytes),
            Piece::File { number, encoding } => {
                let mut encoder = encoding.encoder();
                let content = message.attachments.get(number).map(|file| file.bytes.as_ref());
                encoder.push(content.unwrap_or_default(), &mut whole);
                encoder.end(&mut whole);
            }
        }
    }
    Bytes::from(whole)
}

fn recipients(message: &OutgoingMessage) -> Vec<EmailAddress> {
    let mut seen = HashSet::new();
    let all = message.to.iter().chain(&message.cc).chain(&message.bcc);
    all.map(|named| &named.address).filter(|address| seen.insert(address.normalized())).cloned().collect()
}

fn headers(message: &OutgoingMessage) -> MessageBuilder<'_> {
    let mut builder = MessageBuilder::new()
        .date(Date::new(message.date.as_second()))
        .from(address(&message.from))
        .message_id(message.message_id.as_str());
    if let Some(sender) = message.sender.as_ref().filter(|sender| sender.address != message.from.address) {
        builder = builder.sender(address(sender));
    }
    if !message.reply_to.is_empty() {
        builder = builder.reply_to(list(&message.reply_to));
    }
    if !message.to.is_empty() {
        builder = builder.to(list(&message.to));
    } else if message.cc.is_empty() {
        // Only Bcc: an empty group says so without saying who (RFC 5322 appendix A.1.3).
        builder = builder.header("To", HeaderType::Raw(Raw::new("undisclosed-recipients:;")));
    }
    if !message.cc.is_empty() {
        builder = builder.cc(list(&message.cc));
    }
    builder = builder.header("Subject", subject(&message.subject));
    // What is answered was written by a stranger: an id that no header may hold is left out, not an error.
    if let Some(id) = message.in_reply_to.as_deref().filter(|id| is_id(id)) {
        builder = builder.in_reply_to(id);
    }
    let references: Vec<&str> =
        message.references.iter().map(String::as_str).filter(|id| is_id(id)).collect();
    if !references.is_empty() {
        let youngest = references.len().saturating_sub(REFERENCES);
        builder = builder.references(MessageId::new_list(references[youngest..].iter().copied()));
    }
    if message.auto_submitted {
        builder = builder.header("Auto-Submitted", Raw::new("auto-generated"));
    }
    match message.importance {
        Importance::Normal => {}
        Importance::High => builder = builder.header("Importance", Raw::new("high")),
        Importance::Low => builder = builder.header("Importance", Raw::new("low")),
    }
    if message.request_read_receipt {
        let bare = Address::new_address(None::<&str>, message.from.address.as_str());
        builder = builder.header("Disposition-Notification-To", bare);
    }
    builder.header("MIME-Version", Raw::new("1.0"))
}

/// A subject that looks like an encoded word must be encoded itself, or readers decode what nobody encoded; the
/// builder encodes only what is not ASCII. Words of 45 bytes become 72 (RFC 2047 section 2 allows 75).
fn subject(subject: &str) -> HeaderType<'_> {
    if !subject.contains("=?") {
        return HeaderType::Text(Text::new(subject));
    }
    let mut words = Vec::new();
    let mut rest = subject;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(45));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    HeaderType::Raw(Raw::new(words.join(" ")))
}

fn address(named: &NamedAddress) -> Address<'_> {
    let name = named.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    Address::new_address(name, named.address.as_str())
}

fn list(named: &[NamedAddress]) -> Address<'_> {
    Address::new_list(named.iter().map(address).collect())
}

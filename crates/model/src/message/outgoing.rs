//! What is to be sent, before it is a MIME message; it knows its envelope's recipients and nothing of servers.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;

use super::Importance;
use crate::address::EmailAddress;

/// A message to build. `bcc` goes into the envelope and never into the message.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Who it is from.
    pub from: NamedAddress,
    /// Who really sends it, when that is somebody else (RFC 5322 section 3.6.2).
    pub sender: Option<NamedAddress>,
    /// To.
    pub to: Vec<NamedAddress>,
    /// Cc.
    pub cc: Vec<NamedAddress>,
    /// Bcc.
    pub bcc: Vec<NamedAddress>,
    /// Where answers go, when not to From.
    pub reply_to: Vec<NamedAddress>,
    /// The subject, one line.
    pub subject: String,
    /// The text body. With HTML and no text, the text is made from the HTML.
    pub text: Option<String>,
    /// The HTML body.
    pub html: Option<String>,
    /// Files and inline pictures.
    pub attachments: Vec<OutgoingAttachment>,
    /// The Message-ID this one answers, without angle brackets.
    pub in_reply_to: Option<String>,
    /// The ids of the conversation, the oldest first, without angle brackets.
    pub references: Vec<String>,
    /// The Message-ID of the send request, without angle brackets.
    pub message_id: String,
    /// What Date says.
    pub date: Timestamp,
    /// Made by a program and not by a person: says `Auto-Submitted: auto-generated` (RFC 3834 section 5).
    pub auto_submitted: bool,
    /// Importance; normal says nothing.
    pub importance: Importance,
    /// Ask the reader's program for a receipt to From (RFC 8098 section 2.1).
    pub request_read_receipt: bool,
}

impl OutgoingMessage {
    /// A message with nothing in it but what every message must have.
    pub fn new(from: NamedAddress, message_id: impl Into<String>, date: Timestamp) -> Self {
        Self {
            from,
            sender: None,
            to: Vec::new(),
            cc: Vec::new(),
            bcc: Vec::new(),
            reply_to: Vec::new(),
            subject: String::new(),
            text: None,
            html: None,
            attachments: Vec::new(),
            in_reply_to: None,
            references: Vec::new(),
            message_id: message_id.into(),
            date,
            auto_submitted: false,
            importance: Importance::Normal,
            request_read_receipt: false,
        }
    }
}

impl fmt::Debug for OutgoingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessage")
            .field("message_id", &self.message_id)
            .field("recipients", &(self.to.len() + self.cc.len() + self.bcc.len()))
            .field("attachments", &self.attachments)
            .finish_non_exhaustive()
    }
}

/// An address with the name to show beside it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NamedAddress {
    /// The display name.
    pub name: Option<String>,
    /// The address.
    pub address: EmailAddress,
}

impl From<EmailAddress> for NamedAddress {
    fn from(address: EmailAddress) -> Self {
        Self { name: None, address }
    }
}

impl fmt::Debug for NamedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A file to send along.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingAttachment {
    /// The file name the reader sees.
    pub name: String,
    /// Media type, such as `application/pdf`; parameters are allowed.
    pub content_type: String,
    /// The content.
    pub bytes: Bytes,
    /// The Content-ID, without angle brackets, that the HTML names as `cid:…`: a picture shown in the body.
    pub inline_id: Option<String>,
}

impl fmt::Debug for OutgoingAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.content_type, self.bytes.len())
    }
}

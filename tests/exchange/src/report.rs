//! What a test may look at afterwards: which requests came, and which messages were handed over.

use jiff::Timestamp;

/// One request, noted when it was read and before anything was done about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The SOAP operation, or `POX`, `GET` and the like for requests that are none.
    pub operation: String,
    /// Who signed in; empty when nobody did.
    pub login: String,
    /// The address of the mailbox it acts for, when one is known: impersonated or own.
    pub mailbox: String,
    /// Whether it came with `ExchangeImpersonation`.
    pub impersonated: bool,
    /// `RequestServerVersion`.
    pub version: String,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
    /// `X-AnchorMailbox`.
    pub anchor: String,
    /// The cookie `X-BackEndOverrideCookie`.
    pub affinity: String,
    /// The status that it was answered with; 0 while it is being answered.
    pub status: u16,
    /// The SOAP document, without any credentials: those are in HTTP headers.
    pub body: String,
}

/// A message that was sent, as it left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handed {
    /// The mailbox that sent it.
    pub mailbox: String,
    /// The address in `From`.
    pub from: String,
    /// The envelope: To, Cc and Bcc, each once, in lower case.
    pub recipients: Vec<String>,
    /// The Message-ID it left with, in angle brackets.
    pub message_id: String,
    /// The message without Bcc.
    pub message: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

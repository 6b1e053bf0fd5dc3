//! The one error of this crate: where a conversation with a mail server failed, why, and what the server said.
//!
//! Callers decide by `phase` and `kind`. The server's words may name people, so neither `Debug` nor `Display` shows
//! them: they leave only by `said`, to be kept with an alert.

mod words;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub use words::printable;

use crate::ews::ask::{LEADS_ELSEWHERE, NOT_HERE};

/// Where in a conversation it failed. The phase decides whose failure it is (a server's, a credential's, an item's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Looking up the host's addresses.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// The TLS handshake, implicit or after STARTTLS.
    Tls,
    /// Waiting for the server's first line.
    Greeting,
    /// CAPA or EHLO.
    Capabilities,
    /// Asking for TLS on a plain connection.
    StartTls,
    /// Credentials are being judged.
    SignIn,
    /// STAT, LIST, UIDL.
    List,
    /// RETR or TOP.
    Fetch,
    /// DELE or RSET in POP3.
    Delete,
    /// MAIL FROM and RCPT TO.
    Envelope,
    /// From DATA up to, and not including, the final dot: a failure here means that nothing was sent.
    Data,
    /// The final dot has left and its answer has not come: a connection lost here leaves the fate of the mail unknown.
    Verdict,
    /// QUIT.
    Quit,
    /// Looking for the place of a mailbox's web services (Autodiscover).
    Discover,
    /// Asking the server's directory whose an address is.
    Lookup,
    /// Moving, deleting or marking items, and making folders.
    Change,
    /// Waiting for a server's notifications.
    Watch,
}

impl Phase {
    /// The name used in results, alerts and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Capabilities => "capabilities",
            Self::StartTls => "start_tls",
            Self::SignIn => "sign_in",
            Self::List => "list",
            Self::Fetch => "fetch",
            Self::Delete => "delete",
            Self::Envelope => "envelope",
            Self::Data => "data",
            Self::Verdict => "verdict",
            Self::Quit => "quit",
            Self::Discover => "discover",
            Self::Lookup => "lookup",
            Self::Change => "change",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a certificate was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// No authority that this system or the profile trusts signed it.
    UnknownIssuer,
    /// It is for other hosts.
    WrongHost,
    /// Its authority took it back.
    Revoked,
    /// The certificate of an authority is shown as a server's own, as a careless self-signed certificate is.
    AuthorityAsServer,
    /// Malformed, badly signed, or of a kind that is not supported.
    Unusable,
}

/// Whom a server that is asked too much wants to be left alone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Busy {
    /// By everybody: it is the server that has too much to do.
    Server,
    /// By whoever asks for this mailbox: its budget is used up, or its connections are.
    Mailbox,
}

/// Why it failed, by what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The host has no address, or the name service did not answer.
    Unresolvable,
    /// Every address of the host is in a network that is closed to profiles; this is the first of them.
    ForbiddenAddress {
        /// The address the name led to.
        address: IpAddr,
        /// What kind of network it is in: `loopback`, `private`, `link-local`, `reserved`.
        class: &'static str,
    },
    /// The host answered that nothing listens at the port.
    Refused,
    /// No route, or the network failed while connecting.
    Unreachable,
    /// The phase's deadline passed.
    TimedOut,
    /// The server's certificate was not accepted.
    CertificateNotTrusted(Distrust),
    /// The profile's own CA cannot be read as PEM certificates.
    AuthorityUnreadable,
    /// TLS was expected and the server spoke plain text.
    TlsOnPlain,
    /// Plain text was expected and the server spoke TLS.
    PlainOnTls,
    /// The handshake failed for another reason: no common version or cipher, an alert.
    TlsFailed,
    /// The server does not offer STARTTLS, so signing in would not be private.
    TlsNotOffered,
    /// The server knows these credentials and says no: they must be changed.
    CredentialsRefused,
    /// Another session has the mailbox open (RFC 2449 `IN-USE`).
    Locked,
    /// The server wants a longer pause between sign-ins (RFC 2449 `LOGIN-DELAY`).
    LoginDelay,
    /// The server says no for now; the same request may succeed later.
    TemporarilyRefused,
    /// The server says no, and repeating the request will not help.
    PermanentlyRefused,
    /// The server lacks what is needed: its name, for example `UIDL`.
    Unsupported(&'static str),
    /// The server broke the protocol: how.
    Violation(&'static str),
    /// The server is about to close and takes nothing now, whatever was asked (SMTP 421).
    Unavailable,
    /// The message is larger than the server announced to take (RFC 1870), so it was not sent.
    OverSize {
        /// The message's size in bytes.
        size: u64,
        /// The most that the server takes, in bytes.
        limit: u64,
    },
    /// Something is larger than the limit given: what, for example `the message`.
    TooLarge(&'static str),
    /// The connection ended before the answer did.
    Closed,
    /// What was asked for cannot be said in this protocol (a line break in a login): what is wrong.
    Unspeakable(&'static str),
    /// The server wants to be left alone for a while, for as long as [`Error::retry_after`] says where it said so. It has
    /// not failed, and nothing is wrong with what was asked.
    Throttled(Busy),
    /// The account may not act for this mailbox.
    ImpersonationRefused,
    /// The server has no such mailbox.
    NoSuchMailbox,
    /// There is an account, and no mailbox that can be used behind it: disabled, without a licence, or kept from this
    /// protocol.
    MailboxDisabled,
    /// The mailbox is there, and this folder or item of it is not open to the account.
    AccessDenied,
    /// What the server gave to go on from means nothing to it any more: begin from the beginning.
    SyncStateInvalid,
    /// The item, folder or subscription is not there, or not any more.
    NotFound,
}

/// A failed conversation with a mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Facts>);

#[derive(Clone, PartialEq, Eq)]
struct Facts {
    phase: Phase,
    kind: Kind,
    place: Option<String>,
    said: Option<String>,
    code: Option<String>,
    retry_after: Option<Duration>,
    sent_ahead: bool,
    of_the_system: bool,
}

impl Error {
    /// An error of this kind in this phase.
    pub fn new(phase: Phase, kind: Kind) -> Self {
        Self(Box::new(Facts {
            phase,
            kind,
            place: None,
            said: None,
            code: None,
            retry_after: None,
            sent_ahead: false,
            of_the_system: false,
        }))
    }

    /// Names the server, as `host:port`, in what people read.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.place = Some(place.into());
        self
    }

    /// Keeps the server's own words: made printable, at most 500 characters, nothing if nothing is left.
    #[must_use]
    pub fn with_said(mut self, words: impl AsRef<[u8]>) -> Self {
        self.0.said = Some(printable(words.as_ref())).filter(|words| !words.is_empty());
        self
    }

    /// Keeps the name that the server has for what went wrong, if it is one: at most 80 letters and digits.
    #[must_use]
    pub(crate) fn with_code(mut self, code: &str) -> Self {
        let is_name = (1..=80).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        self.0.code = is_name.then(|| code.to_owned());
        self
    }

    /// Says that nothing else had been answered before: so fails a server that takes connections and does not serve.
    #[must_use]
    pub fn at_the_greeting(mut self) -> Self {
        self.0.phase = Phase::Greeting;
        self
    }

    /// Forgets the server's words, when they may repeat a secret.
    #[must_use]
    pub fn without_said(mut self) -> Self {
        self.0.said = None;
        self
    }

    /// Keeps how long the server asked to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Says that the command was sent before an earlier one was answered, and that the earlier one was.
    #[must_use]
    pub(crate) fn with_sent_ahead(mut self) -> Self {
        self.0.sent_ahead = true;
        self
    }

    /// Whether what was sent ahead of its turn got no proper answer, while what was sent before it did: so fails a
    /// server that announces pipelining and throws away what it did not expect yet.
    pub fn was_sent_ahead(&self) -> bool {
        self.0.sent_ahead
    }

    /// Says that the server itself put the failure down to its system.
    #[must_use]
    pub(crate) fn with_system(mut self) -> Self {
        self.0.of_the_system = true;
        self
    }

    /// Whether the server called it a failure of its system by a response code (RFC 3206 section 4), not one of what was
    /// asked for.
    pub fn is_of_the_system(&self) -> bool {
        self.0.of_the_system
    }

    /// The same in another phase, when it is known only afterwards how far it had come.
    #[must_use]
    pub(crate) fn in_phase(mut self, phase: Phase) -> Self {
        self.0.phase = phase;
        self
    }

    /// Whether it says that the web services asked for are no longer there, or the mailbox no longer in them: the name has no
    /// address, nothing listens, no service answers at the path, it sends on, or it has the mailbox elsewhere. A server that is only slow,
    /// busy or out of order says nothing of the kind.
    ///
    /// <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/responsecode>
    pub fn says_moved(&self) -> bool {
        let code = matches!(
            self.code(),
            Some(
                "ErrorMailboxMoveInProgress"
                    | "ErrorMailboxFailover"
                    | "ErrorCrossSiteRequest"
                    | "ErrorWrongServerVersion"
                    | "ErrorProxyRequestNotAllowed"
                    | "ErrorProxyServiceDiscoveryFailed"
                    | "ErrorNoRespondingCASInDestinationSite"
            )
        );
        code || match self.kind() {
            Kind::Unresolvable | Kind::Refused | Kind::NoSuchMailbox => true,
            Kind::Unsupported(what) => *what == NOT_HERE,
            Kind::Violation(how) => *how == LEADS_ELSEWHERE,
            _ => false,
        }
    }

    /// Where it failed.
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// Why it failed.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// The server's own words. They may name people: for an alert, never for a log.
    pub fn said(&self) -> Option<&str> {
        self.0.said.as_deref()
    }

    /// The server's name for what went wrong, such as `ErrorItemNotFound`: letters and digits.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("phase", &self.0.phase)
            .field("kind", &self.0.kind)
            .field("place", &self.0.place)
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {}

//! How a session is opened, how long it waits, and who it is towards the server.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::address::EmailAddress;

use super::Version;
use crate::sasl::Proof;
use crate::transport;

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the connection is opened; its phase deadline holds for each request that is small and has a small answer.
    pub transport: transport::Settings,
    /// How a password may be said.
    pub schemes: Schemes,
    /// What bounds a session beside that.
    pub limits: Limits,
    /// The version that an earlier session found; none, and the newest is tried first.
    pub version: Option<Version>,
}

/// What sessions asked of a server, as it may count it: more with each request, and complete once they ended.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests.
    pub requests: AtomicU64,
    /// Bytes sent to it.
    pub bytes_up: AtomicU64,
    /// Bytes read from it.
    pub bytes_down: AtomicU64,
}

/// How a password may be said to a server. A token is said in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schemes {
    /// As it is, inside TLS (RFC 7617).
    pub basic: bool,
    /// By a proof that does not tell it (MS-NTHT), where a server does not take it as it is.
    pub ntlm: bool,
}

impl Default for Schemes {
    fn default() -> Self {
        Self { basic: true, ntlm: true }
    }
}

/// What bounds a session beside the connection's own deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most that an answer without messages in it may have, in bytes.
    pub answer_bytes: u64,
    /// How many bytes past a message's cap are read and thrown away to get at the next one; past them the session is
    /// given up.
    pub drain_bytes: u64,
    /// The longest that the messages of one request may take on their way in, or one message on its way out.
    pub message_deadline: Duration,
    /// How long the server may take to answer once it has a whole message, or was told to send one.
    pub verdict_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Ten thousand folders, or 512 changes many times over.
            answer_bytes: 16 * 1024 * 1024,
            drain_bytes: 64 * 1024 * 1024,
            message_deadline: Duration::from_secs(600),
            verdict_timeout: Duration::from_secs(300),
        }
    }
}

/// Who signs in, and whose mailbox is meant.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    /// The user name that goes with a password: `anna@example.com`, `EXAMPLE\anna`. A token says it by itself.
    pub login: &'a str,
    /// What proves it.
    pub proof: Proof<'a>,
    /// Whose mailbox is meant.
    pub mailbox: EmailAddress,
    /// How the one who signs in gets at it.
    pub access: Access,
}

/// How a mailbox is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is the one of whoever signs in.
    Own,
    /// Whoever signs in acts as its owner.
    ///
    /// <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/exchangeimpersonation>
    Impersonation,
    /// Whoever signs in was given rights on its folders.
    ///
    /// <https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/delegate-access-and-ews-in-exchange>
    Delegate,
}

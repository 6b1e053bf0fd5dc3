//! An email server profile: one mail server and how it is reached.

use serde::{Deserialize, Serialize};

use crate::endpoint::{Endpoint, Protocol, Tls};
use crate::names::names;

names! {
    /// What kind of server a profile names.
    "profile kind" ProfileKind {
        /// Mail by POP3 in and SMTP out; no calendar.
        Pop3Smtp = "pop3_smtp",
        /// Microsoft Exchange on its own premises, and other servers that speak Exchange Web Services.
        ExchangeEws = "exchange_ews",
    }

    /// In whose name an Exchange server is asked.
    "way into Exchange" ExchangeAccess {
        /// The profile's account acts as the mailbox's owner, which the server allows it by a role (`ApplicationImpersonation`).
        Impersonation = "impersonation",
        /// The profile's account asks in its own name for a mailbox that it was given access to.
        Delegate = "delegate",
        /// Each mailbox has its own credentials.
        Own = "own",
    }

    /// Where the credentials of a profile's mailboxes live.
    "place for credentials" CredentialsOn {
        /// One credential on the profile serves all of its mailboxes.
        Profile = "profile",
        /// Each mailbox has its own.
        Mailbox = "mailbox",
    }
}

/// How an Exchange server is asked, beside where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The path of the service on its host, such as `/EWS/Exchange.asmx`; none where each mailbox's service is found by
    /// autodiscover.
    pub path: Option<String>,
    /// In whose name it is asked.
    pub access: ExchangeAccess,
    /// The address of the autodiscover service that is asked instead of the servers of a mailbox's domain.
    #[serde(default)]
    pub start: Option<String>,
    /// Hosts that may hear the credentials beside those under a mailbox's domain, by an administrator's consent. One that
    /// begins with a dot stands for every host under it.
    #[serde(default)]
    pub hosts: Vec<String>,
}

impl Exchange {
    /// A service at a path that is known.
    pub fn at(path: impl Into<String>, access: ExchangeAccess) -> Self {
        Self { path: Some(path.into()), access, start: None, hosts: Vec::new() }
    }

    /// What stands on a profile for the place of a service that is found for each mailbox.
    pub fn unfound() -> Endpoint {
        Endpoint { protocol: Protocol::Ews, host: "autodiscover".to_owned(), port: 443, tls: Tls::Implicit }
    }
}

/// The numbers that bound how much of a profile's servers may be used at once, counted per endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Where credentials live decides what `max_connections` is counted over.
    pub credentials_on: CredentialsOn,
    /// Connections at once: per endpoint of the profile, or per mailbox when the credentials live there. A mailbox never has
    /// more than one to a POP3 or SMTP server, whatever this says, so it bounds nothing there.
    pub max_connections: u32,
    /// Connections at once per endpoint over all mailboxes of a profile whose mailboxes have their own credentials.
    pub max_in_flight: u32,
}

impl Limits {
    /// The hard limit per endpoint of the profile (design section 5).
    pub const fn per_endpoint(&self) -> u32 {
        match self.credentials_on {
            CredentialsOn::Profile => self.max_connections,
            CredentialsOn::Mailbox => self.max_in_flight,
        }
    }
}

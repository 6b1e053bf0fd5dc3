//! Where a mail server listens: the unit that connection limits and breakers are counted by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a connection becomes private. There is no third way: credentials never travel in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// TLS from the first byte (RFC 8314 section 3): 995 for POP3, 465 for submission.
    Implicit,
    /// Plain text upgraded before anything secret is said (RFC 2595, RFC 3207): 110 and 587.
    StartTls,
}

/// The protocol spoken at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// RFC 1939.
    Pop3,
    /// Message submission, RFC 6409.
    Smtp,
    /// HTTP over TLS: a token server.
    Https,
    /// Exchange Web Services, which is HTTP over TLS: one endpoint for mail in, mail out and all else.
    Ews,
}

impl Protocol {
    /// The name used in endpoint keys, metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pop3 => "pop3",
            Self::Smtp => "smtp",
            Self::Https => "https",
            Self::Ews => "ews",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A (protocol, host, port) of a mail server, with how TLS is reached there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: Protocol,
    /// A host name or an address literal, as it must stand in the certificate.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How the connection becomes private.
    pub tls: Tls,
}

impl Endpoint {
    /// The name that limits and breakers are counted under: protocol, lower-case host and port.
    pub fn key(&self) -> String {
        format!("{}://{}:{}", self.protocol, self.host.to_ascii_lowercase(), self.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

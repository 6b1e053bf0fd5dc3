//! How this side of an SMTP conversation names itself and how long it waits. Nothing here is secret.

use std::fmt;
use std::time::Duration;

use model::address::EmailAddress;

use crate::transport;

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the connection is opened; its phase deadline holds for each command group.
    pub transport: transport::Settings,
    /// How we name ourselves in EHLO.
    pub client_name: ClientName,
    /// Time for giving one message's content to the server; within it, no single write may take longer than the
    /// phase deadline.
    pub message_timeout: Duration,
    /// Time for the answer after the final dot (RFC 5321 section 4.5.3.2.6 advises patience).
    pub verdict_timeout: Duration,
}

/// A host name or an address literal, as EHLO takes it (RFC 5321 section 4.1.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

impl ClientName {
    /// Checks a name for EHLO. It is ASCII: a name beyond is written with its `xn--` form.
    pub fn parse(text: &str) -> Result<Self, InvalidClientName> {
        // What may stand after the @ of an address may name us, less the underscores that addresses are forgiven.
        let names_a_host =
            format!("x@{text}").parse::<EmailAddress>().is_ok_and(|address| address.domain() == text);
        if text.is_ascii() && !text.contains('_') && names_a_host {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidClientName)
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no name for EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name for EHLO: use a host name such as `mail.example.org`, or an address literal such as `[192.0.2.1]`"
)]
pub struct InvalidClientName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_and_address_literals_name_us() {
        for good in ["mail.example.org", "localhost", "[127.0.0.1]", "[IPv6:::1]", "xn--bcher-kva.example"] {
            assert_eq!(ClientName::parse(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "a b",
            "a\r\nQUIT",
            "127.0.0.1]",
            "[::1]",
            "[x]",
            "bücher.example",
            "a..b",
            "-a",
            "a@b",
            "a_b",
        ] {
            assert_eq!(ClientName::parse(bad), Err(InvalidClientName), "{bad:?}");
        }
    }
}

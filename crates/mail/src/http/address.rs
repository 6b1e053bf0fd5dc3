//! Where a server of the web is: a token server, a server's web services. Only https: a secret goes nowhere else.

use std::fmt;

use model::endpoint::{Endpoint, Protocol, Tls};
use url::{Host, Position, Url};

/// An https address without user name, password or fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not an absolute address with a host.
    #[error("it is no address such as https://mail.example.com/path")]
    Malformed,
    /// Another scheme.
    #[error("it does not begin with https://, and secrets go over verified TLS only")]
    NotHttps,
    /// A user name, a password or a fragment in it.
    #[error("it has a user name, a password or a fragment in it")]
    Decorated,
}

impl Address {
    /// Reads an address of at most 2,000 characters.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text.len() > 2000 {
            return Err(BadAddress::Malformed);
        }
        let url = Url::parse(text).map_err(|_| BadAddress::Malformed)?;
        if url.scheme() != "https" {
            return Err(BadAddress::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(BadAddress::Decorated);
        }
        Ok(Self(url))
    }

    /// The host, as it must stand in the certificate.
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            None => String::new(),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// What is asked for there, without a query.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Where the connection leads, by which limits and breakers are counted.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { protocol: Protocol::Https, host: self.host(), port: self.port(), tls: Tls::Implicit }
    }

    /// What a request's first line asks for: the path and the query.
    pub(crate) fn target(&self) -> &str {
        &self.0[Position::BeforePath..Position::AfterQuery]
    }

    /// What the `Host` field says: the port too where it is another than 443.
    pub(crate) fn authority(&self) -> String {
        match self.0.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host(),
        }
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

/// The query may be anybody's business: host and path are shown.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host(), self.port(), self.0.path())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_addresses_are_taken() {
        let address = Address::parse("https://Login.Example.com/common/token?x=1").unwrap();
        assert_eq!((address.host().as_str(), address.port()), ("login.example.com", 443));
        assert_eq!(Address::parse("https://[::1]:8443/t").unwrap().endpoint().host, "[::1]");
        for (text, bad) in [
            ("http://login.example.com/token", BadAddress::NotHttps),
            ("file:///etc/passwd", BadAddress::NotHttps),
            ("https://", BadAddress::Malformed),
            ("/token", BadAddress::Malformed),
            ("", BadAddress::Malformed),
            ("https://me@example.com/token", BadAddress::Decorated),
            ("https://example.com/token#x", BadAddress::Decorated),
        ] {
            assert_eq!(Address::parse(text), Err(bad), "{text}");
        }
    }
}

//! Who is asked where a mailbox is, and in which order.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/how-to-generate-a-list-of-autodiscover-endpoints>

use model::address::EmailAddress;
use url::{Host, Url};

use crate::http::Address;

/// Somebody who may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A server, asked in SOAP.
    Soap(Address),
    /// A server, asked in plain old XML.
    Pox(Address),
    /// A server without TLS, which is asked for nothing but who else knows.
    Plain {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Candidate {
    /// Its host, if it may be told the credentials at all.
    pub(super) fn host(&self) -> Option<String> {
        match self {
            Self::Soap(address) | Self::Pox(address) => Some(address.host()),
            Self::Plain { .. } => None,
        }
    }

    /// The server at an address that somebody named, asked in the way that its path says.
    pub fn at(address: Address) -> Self {
        let (_, extension) = address.url().path().rsplit_once('.').unwrap_or_default();
        if extension.eq_ignore_ascii_case("svc") { Self::Soap(address) } else { Self::Pox(address) }
    }
}

/// The servers of a mailbox's domain: the domain itself and `autodiscover` in it, each in SOAP and then in plain XML; last
/// whoever `autodiscover` names without TLS. None for an address whose domain is no name.
pub fn candidates(mailbox: &EmailAddress) -> Vec<Candidate> {
    let Some(domain) = domain(mailbox) else { return Vec::new() };
    let mut candidates = Vec::new();
    for host in [domain.clone(), format!("autodiscover.{domain}")] {
        let address =
            |file: &str| Address::parse(&format!("https://{host}/autodiscover/autodiscover.{file}")).ok();
        candidates.extend(address("svc").map(Candidate::Soap));
        candidates.extend(address("xml").map(Candidate::Pox));
    }
    candidates.push(Candidate::Plain { host: format!("autodiscover.{domain}"), port: 80 });
    candidates
}

/// A mailbox's domain as host names are compared: in lower case, and in ASCII (RFC 5891).
pub(super) fn domain(mailbox: &EmailAddress) -> Option<String> {
    let url = Url::parse(&format!("https://{}/", mailbox.domain())).ok()?;
    match url.host()? {
        Host::Domain(name) => Some(name.trim_end_matches('.').to_owned()).filter(|name| !name.is_empty()),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_documented_one() {
        let said: Vec<_> = candidates(&"Anna@Example.com".parse().unwrap())
            .into_iter()
            .map(|candidate| match candidate {
                Candidate::Soap(address) | Candidate::Pox(address) => address.to_string(),
                Candidate::Plain { host, port } => format!("{host}:{port}"),
            })
            .collect();
        assert_eq!(
            said,
            [
                "https://example.com/autodiscover/autodiscover.svc",
                "https://example.com/autodiscover/autodiscover.xml",
                "https://autodiscover.example.com/autodiscover/autodiscover.svc",
                "https://autodiscover.example.com/autodiscover/autodiscover.xml",
                "autodiscover.example.com:80",
            ]
        );
        assert_eq!(candidates(&"anna@[127.0.0.1]".parse().unwrap()), []);
        assert_eq!(domain(&"anna@bücher.example".parse().unwrap()).as_deref(), Some("xn--bcher-kva.example"));
    }

    #[test]
    fn a_path_says_how_it_is_asked() {
        let at = |url| Candidate::at(Address::parse(url).unwrap());
        assert!(matches!(at("https://x.example/Autodiscover/Autodiscover.SVC"), Candidate::Soap(_)));
        assert!(matches!(at("https://x.example/autodiscover/autodiscover.xml"), Candidate::Pox(_)));
    }
}

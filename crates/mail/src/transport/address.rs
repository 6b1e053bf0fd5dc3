//! From a host name to the addresses that may be connected to. Only what comes out of here is ever connected to.

use std::net::{IpAddr, SocketAddr};

use model::endpoint::Endpoint;
use model::network::NetworkPolicy;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use super::place;
use crate::error::{Error, Kind, Phase};

/// The most addresses of one host that are tried.
const MOST: usize = 8;

/// Looks the endpoint's host up and keeps the addresses the policy permits, in the order the system gave.
pub(super) async fn permitted(
    endpoint: &Endpoint,
    policy: &NetworkPolicy,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Error> {
    let error = |kind| Error::new(Phase::Resolve, kind).at(place(endpoint));
    let found: Vec<SocketAddr> = match bare(&endpoint.host).parse::<IpAddr>() {
        Ok(literal) => vec![SocketAddr::new(literal, endpoint.port)],
        Err(_) => timeout_at(deadline, lookup_host((endpoint.host.as_str(), endpoint.port)))
            .await
            .map_err(|_| error(Kind::TimedOut))?
            .map_err(|_| error(Kind::Unresolvable))?
            .collect(),
    };
    let first = found.first().ok_or_else(|| error(Kind::Unresolvable))?.ip();
    let open: Vec<_> = found.into_iter().filter(|address| policy.permits(address.ip())).take(MOST).collect();
    if open.is_empty() {
        return Err(error(Kind::ForbiddenAddress { address: first, class: class(first) }));
    }
    Ok(open)
}

/// An IPv6 literal without the brackets that URLs put around it.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// What kind of closed network an address is in, in a word that operators use.
fn class(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => "loopback",
        IpAddr::V4(v4) if v4.is_private() => "private",
        IpAddr::V4(v4) if v4.is_link_local() => "link-local",
        IpAddr::V6(v6) if v6.is_loopback() => "loopback",
        IpAddr::V6(v6) if v6.is_unique_local() => "private",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local",
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or("reserved", |v4| class(IpAddr::V4(v4))),
        IpAddr::V4(_) => "reserved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_networks_are_called_by_their_names() {
        for (address, name) in [
            ("127.0.0.1", "loopback"),
            ("10.0.0.1", "private"),
            ("169.254.169.254", "link-local"),
            ("0.0.0.0", "reserved"),
            ("::1", "loopback"),
            ("fd00::1", "private"),
            ("fe80::1", "link-local"),
            ("::ffff:192.168.0.1", "private"),
            ("2002::1", "reserved"),
        ] {
            assert_eq!(class(address.parse().unwrap()), name, "{address}");
        }
    }

    #[test]
    fn brackets_of_an_address_literal_are_dropped() {
        assert_eq!(bare("[::1]"), "::1");
        assert_eq!(bare("mail.example"), "mail.example");
    }
}

//! Which network addresses a profile may lead to: public ones, and those the operator named.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The operator's word on networks that are closed by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkPolicy {
    /// Networks that profiles may lead to although they are loopback, link-local or private.
    pub allow: Vec<IpNet>,
}

impl NetworkPolicy {
    /// Whether a connection to this address may be opened. Ask for the address that will be connected to, after
    /// resolution, so that a name cannot change its meaning between the question and the connection.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        self.allow.iter().any(|network| network.contains(&address)) || is_public(address)
    }
}

/// An IPv4 address that hides in IPv6 (RFC 4291 section 2.5.5, RFC 6052) is judged as the IPv4 address it reaches.
fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let octets = v6.octets();
    let nat64 = octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
    let compatible = octets[..12] == [0; 12] && octets[12..] != [0, 0, 0, 0] && octets[12..] != [0, 0, 0, 1];
    if nat64 || compatible {
        return IpAddr::from([octets[12], octets[13], octets[14], octets[15]]);
    }
    address
}

/// Special-purpose ranges are those of the IANA registries (RFC 6890 and its updates).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(a == 0
                || v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                // The relay of 6to4, given up by RFC 7526.
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            let documentation = first == 0x2001 && v6.segments()[1] == 0x0db8;
            // Only 2000::/3 is global unicast today; 6to4 (2002::/16) and Teredo (2001::/32) carry IPv4 inside.
            (first & 0xe000) == 0x2000
                && !documentation
                && first != 0x2002
                && !(first == 0x2001 && v6.segments()[1] == 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_loopback_and_disguised_addresses_are_closed_by_default() {
        let policy = NetworkPolicy::default();
        for closed in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.88.99.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "::127.0.0.1",
            "2002:7f00:1::",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!policy.permits(closed.parse().unwrap()), "{closed} must be closed");
        }
        for open in ["8.8.8.8", "1.1.1.1", "172.15.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(policy.permits(open.parse().unwrap()), "{open} must be open");
        }
    }

    #[test]
    fn an_allowed_network_opens_itself_and_nothing_else() {
        let policy = NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] };
        assert!(policy.permits("127.0.0.1".parse().unwrap()));
        assert!(policy.permits("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!policy.permits("10.0.0.1".parse().unwrap()));
        assert!(!policy.permits("::1".parse().unwrap()));
    }
}

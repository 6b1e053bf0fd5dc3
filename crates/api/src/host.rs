//! Whether a profile's host may be reached at all, asked when it is made: a name that cannot be resolved and a network
//! that is closed are told at once. Whether the server answers is found by the test; cycles ask again at each connection.

use std::net::IpAddr;
use std::time::Duration;

use model::network::NetworkPolicy;

use crate::problem::Problem;

/// Refuses a host without an address, or with closed ones alone. `field` names it, such as `incoming.host`.
pub(crate) async fn check(
    field: &str,
    host: &str,
    port: u16,
    policy: &NetworkPolicy,
    deadline: Duration,
) -> Result<(), Problem> {
    if host.is_empty() {
        return Err(Problem::invalid(field, format!("`{field}` is empty"), "give the server's name"));
    }
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return if policy.permits(address) { Ok(()) } else { Err(closed(field, host)) };
    }
    let found = match tokio::time::timeout(deadline, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => {
            return Err(Problem::invalid(
                field,
                format!("the name of `{field}` could not be resolved within {} s", deadline.as_secs()),
                "check the name, and that the name servers of Lockstep's machines answer; then repeat the request",
            ));
        }
    };
    if found.is_empty() {
        return Err(Problem::invalid(
            field,
            format!("the name of `{field}` has no address"),
            "check the spelling of the host name; it must resolve on the machines that run Lockstep",
        ));
    }
    if found.iter().any(|address| policy.permits(*address)) { Ok(()) } else { Err(closed(field, host)) }
}

fn closed(field: &str, host: &str) -> Problem {
    let shown: String = host.chars().take(253).collect();
    Problem::invalid(
        field,
        format!("`{shown}` leads to a loopback, link-local, private or otherwise closed network"),
        "if the server is meant, the operator allows its network with the configuration key `network.allow`; \
         otherwise correct the host name",
    )
}

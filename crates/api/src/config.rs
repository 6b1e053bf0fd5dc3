//! The `[api]` section. The defaults are in `config.default.toml`.

use std::net::SocketAddr;

use serde::Deserialize;

/// Where the API listens and what it bears.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens: address:port. It speaks plain HTTP, so put a proxy with TLS before anything but loopback.
    pub listen: SocketAddr,
    /// Connections at once; those above wait until one is free. The process needs as many file descriptors.
    pub max_connections: u32,
    /// How long a client may take to send the head of a request, and how long a connection may idle, in seconds.
    pub header_timeout_seconds: u64,
    /// What people's browsers reach it by, such as `https://lockstep.example.com`: consents lead back there. Empty: the
    /// address it listens at.
    pub public_url: String,
    /// How long an answer may take, in seconds; up- and downloads of files are not bound by it.
    pub request_timeout_seconds: u64,
    /// The largest JSON body, in MB (1,000,000 bytes).
    pub max_body_mb: u32,
    /// How long the name of a mail server may take to resolve when a profile is made, in seconds.
    pub resolve_seconds: u64,
}

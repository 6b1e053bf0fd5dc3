//! Free loopback ports, from below the range that the kernel gives to outgoing connections.

use std::net::{Ipv4Addr, TcpListener};

use model::clock;

const FIRST: f64 = 11_000.0;
const COUNT: f64 = 21_000.0;

/// A port of 127.0.0.1 on which nobody listens at this moment.
pub fn free_port() -> u16 {
    loop {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 11000 and 32000"
        )]
        let port = (FIRST + clock::random_fraction() * COUNT) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

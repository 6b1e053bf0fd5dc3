//! Free loopback ports. They come from below the range that the kernel gives to outgoing connections, so that a
//! stopped server finds its port free when it is started again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, TcpListener},
};

use crate::Error;

const FIRST: u64 = 11_000;
const COUNT: u64 = 21_000;

/// `N` different ports on 127.0.0.1 on which nobody listens at this moment.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], Error> {
    let mut ports = [0; N];
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = free_one()?;
        *port = listener.local_addr().map_err(Error::io("cannot read a port"))?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn free_one() -> Result<TcpListener, Error> {
    let mut refused = None;
    for _ in 0..200 {
        let port =
            u16::try_from(FIRST + RandomState::new().build_hasher().finish() % COUNT).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some(error),
        }
    }
    let refused = refused.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::io("no free loopback port between 11000 and 31999")(refused))
}

//! HTTP/1.1 (RFC 9112) over the connections that mail servers are reached by: the same network policy, verified TLS,
//! deadlines and ends. It must never follow a redirect, keep a cookie, or read past the bound that it is given.

mod address;
mod channel;
mod metered;
mod reading;
mod retry;
mod sending;

pub use address::{Address, BadAddress};
pub(crate) use channel::Channel;
pub(crate) use reading::Reading;
pub(crate) use retry::retry_after;
pub(crate) use sending::{Feeder, Sending};

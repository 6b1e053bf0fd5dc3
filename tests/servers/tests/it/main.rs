//! Every server starts, does one real thing, and is gone when it is let go.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod cleaning;
mod mail;
mod proxy;
mod session;
mod storage;

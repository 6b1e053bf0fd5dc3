//! The one door to the clock and to randomness.
//!
//! What is due is decided by Postgres's `now()`; nothing read here is ever written to a due, queued or session
//! column. These values go into ids, keys, nonces and log lines only.

use jiff::Timestamp;
use rand::Rng as _;
use uuid::Uuid;

/// The wall clock of this process, for display and for ids; never for what is due.
#[expect(clippy::disallowed_methods, reason = "this is the door the lint points to")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A new time-ordered id (UUID version 7, RFC 9562 section 5.7).
#[expect(clippy::disallowed_methods, reason = "this is the door the lint points to")]
pub fn new_id<T: From<Uuid>>() -> T {
    T::from(Uuid::now_v7())
}

/// `N` bytes from the operating system's generator by way of the thread's cipher: fit for keys and nonces.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A number in `0.0..1.0`, for jitter.
pub fn random_fraction() -> f64 {
    let bits = u64::from_le_bytes(random_bytes()) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let numerator = bits as f64;
    numerator / 9_007_199_254_740_992.0
}

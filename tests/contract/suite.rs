//! The contract itself, part by part. Each function is one line of it, generic over the provider.

pub(crate) mod bcc;
pub(crate) mod cancellation;
pub(crate) mod faults;
pub(crate) mod incoming;
pub(crate) mod limits;
pub(crate) mod outgoing;
pub(crate) mod rates;
pub(crate) mod sizes;

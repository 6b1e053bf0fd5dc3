//! Leases on connections to mail servers: the gRPC contract and its client.
//!
//! A worker opens no connection to a mail server without a [`Lease`], and resets it when the lease is lost. This
//! crate never decides who gets one: that is the coordinator's ledger.

mod client;
mod config;
mod lease;
mod link;
mod operator;
mod rate;
mod request;
mod share;

pub use client::{Session, Throttle};
pub use config::{Config, ConfigError};
pub use lease::{Doubt, Lease, Validity};
pub use operator::{CheckError, Report, check, free, status};
pub use rate::{Allowance, Rate, Spent};
pub use request::{AcquireRequest, Denied, Holder, Limit, class_from_wire, class_to_wire};
pub use share::{ClassShare, Quota, Served, Shares, quotas};

/// The messages and services of `proto/lockstep/throttle/v1`, generated.
pub mod v1 {
    #![expect(
        clippy::pedantic,
        clippy::allow_attributes,
        missing_docs,
        reason = "generated; what each field means stands in the proto file"
    )]
    tonic::include_proto!("lockstep.throttle.v1");

    /// The compiled contract, for reflection.
    pub const DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("throttle");
}

//! What administrators ask a coordinator: is it there, what does its ledger say, and free this slot.

use std::fmt;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::config::{Config, ConfigError};
use crate::v1::{self, leases_client::LeasesClient};

/// How long a coordinator may take to answer a person.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing was learnt, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// None of the coordinators answers.
    #[error(
        "no coordinator answers at {urls}; check `throttle.urls` and that `lockstep coordinator` runs there"
    )]
    Away {
        /// Where it was tried.
        urls: String,
    },
    /// The token is not theirs.
    #[error("the coordinator refuses the token: {why}")]
    Token {
        /// What it said.
        why: String,
    },
    /// The coordinator answers, its ledger does not.
    #[error("the coordinator answers but {why}")]
    Ledger {
        /// What it said.
        why: String,
    },
}

/// A coordinator that answers, with its ledger.
#[derive(Debug)]
pub struct Report {
    /// Limits that are held or waited for.
    pub limits: usize,
    /// Leases held.
    pub in_use: u32,
    /// Requests in the queues.
    pub waiting: u32,
    /// Leases of silent workers.
    pub in_doubt: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, in_use, waiting, in_doubt } = self;
        write!(
            f,
            "answers; {limits} limits in use, {in_use} slots held, {waiting} waiting, {in_doubt} in doubt"
        )
    }
}

/// Whether a coordinator answers, for `doctor`.
pub async fn check(config: &Config) -> Result<Report, CheckError> {
    let status = status(config, "").await?;
    Ok(Report {
        limits: status.limits.len(),
        in_use: status.limits.iter().map(|limit| limit.in_use).sum(),
        waiting: status.limits.iter().map(|limit| limit.waiting).sum(),
        in_doubt: status.in_doubt.len(),
    })
}

/// Every limit whose key begins so, and the slots in doubt; of the first coordinator that answers.
pub async fn status(config: &Config, key_prefix: &str) -> Result<v1::StatusReply, CheckError> {
    let mut client = reach(config).await?;
    let request = v1::StatusRequest { key_prefix: key_prefix.to_owned() };
    let reply = client.status(asked(config, request)?).await;
    reply.map(tonic::Response::into_inner).map_err(|status| failed(config, &status))
}

/// Frees a slot in doubt, on an administrator's word that its connection is closed. False when there is no such lease.
pub async fn free(config: &Config, lease: Uuid) -> Result<bool, CheckError> {
    let mut client = reach(config).await?;
    let reply = client.free(asked(config, v1::FreeRequest { lease_id: lease.to_string() })?).await;
    reply.map(|reply| reply.into_inner().freed).map_err(|status| failed(config, &status))
}

async fn reach(config: &Config) -> Result<LeasesClient<Channel>, CheckError> {
    for endpoint in config.endpoints()? {
        if let Ok(channel) = endpoint.connect().await {
            return Ok(LeasesClient::new(channel));
        }
    }
    Err(CheckError::Away { urls: config.urls.join(", ") })
}

fn asked<T>(config: &Config, message: T) -> Result<Request<T>, CheckError> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request.metadata_mut().insert("authorization", config.bearer()?);
    Ok(request)
}

fn failed(config: &Config, status: &Status) -> CheckError {
    let why = status.message().to_owned();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => CheckError::Token { why },
        Code::Unavailable if !why.is_empty() => CheckError::Ledger { why },
        _ => CheckError::Away { urls: config.urls.join(", ") },
    }
}

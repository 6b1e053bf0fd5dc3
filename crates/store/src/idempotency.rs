//! Idempotency keys: a create or a send that is repeated with the same key gets the first one's answer and does
//! nothing. Key, work and answer are one transaction; a repetition that comes while the first is at work waits for it.

use serde_json::Value;

use crate::refusal::check_length;
use crate::{Result, Tenant};

/// What is known of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nothing: do the work, then [`answered`].
    New,
    /// The same request was answered like this.
    Again {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Value,
    },
    /// The key was used for another request: refuse this one.
    Different,
}

/// Takes a key for a request, before any of its work. `principal` is whose key it is, such as a user's id;
/// `request` the SHA-256 of method, path and body.
pub async fn begin(tenant: &Tenant, principal: &str, key: &str, request: [u8; 32]) -> Result<Seen> {
    check_length("Idempotency-Key", key, 1, 200)?;
    let taken = tenant
        .execute(
            "insert into idempotency_keys (organization_id, principal, key, request_hash)
             values (current_organization(), $1, $2, $3) on conflict do nothing",
            &[&principal, &key, &request.as_slice()],
        )
        .await?;
    if taken == 1 {
        return Ok(Seen::New);
    }
    let row = tenant
        .query_opt(
            "select request_hash, status, body from idempotency_keys where principal = $1 and key = $2",
            &[&principal, &key],
        )
        .await?;
    let Some(row) = row else { return Ok(Seen::New) };
    if row.try_get::<_, &[u8]>("request_hash")? != request {
        return Ok(Seen::Different);
    }
    let status: Option<i32> = row.try_get("status")?;
    match status.and_then(|status| u16::try_from(status).ok()) {
        Some(status) => {
            let body: Option<Value> = row.try_get("body")?;
            Ok(Seen::Again { status, body: body.unwrap_or_default() })
        }
        None => Ok(Seen::New),
    }
}

/// Keeps the answer, in the transaction of the work.
pub async fn answered(tenant: &Tenant, principal: &str, key: &str, status: u16, body: &Value) -> Result<()> {
    tenant
        .execute(
            "update idempotency_keys set status = $3, body = $4 where principal = $1 and key = $2",
            &[&principal, &key, &i32::from(status), body],
        )
        .await?;
    Ok(())
}

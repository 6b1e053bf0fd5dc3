//! Idempotency keys: a request that is repeated with the same key gets the first one's answer and does nothing. The answer
//! is committed with the effect it speaks of, or neither is; nothing here is ever committed alone.

use std::time::Duration;

use tokio_postgres::Row;

use crate::{Error, Result, Ring, Tenant};

/// Whose key it is, and the key. Two principals never meet in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Such as `user:…`.
    pub principal: String,
    /// As the caller chose it.
    pub key: String,
}

/// An answer as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `ETag`, if it had one.
    pub etag: Option<String>,
    /// The body; none when it held what is shown once and kept nowhere.
    pub body: Option<String>,
}

/// What is kept of a request that was answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of what was asked.
    pub request: [u8; 32],
    /// What was answered.
    pub answer: Answer,
}

/// Takes the key until the transaction ends; false when another request with it is under way. Nobody waits: a pool of
/// connections that wait for each other answers nobody.
pub async fn enter(tenant: &Tenant, once: &Once) -> Result<bool> {
    let row = tenant
        .query_one(
            "select pg_try_advisory_xact_lock(
                 hashtextextended(concat_ws(' ', 'idempotency', current_organization(), $1::text, $2::text), 0))",
            &[&once.principal, &once.key],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// What was answered to the key, while it is kept.
pub async fn find(tenant: &Tenant, once: &Once) -> Result<Option<Kept>> {
    let row = tenant
        .query_opt(
            "select request_hash, status, etag, answer from idempotency_keys
             where principal = $1 and key = $2 and expires_at > now()",
            &[&once.principal, &once.key],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<Kept> {
    let request: &[u8] = row.try_get("request_hash")?;
    let status: i32 = row.try_get("status")?;
    let unreadable = || Error::Broken("an idempotency key that this program did not write".to_owned());
    Ok(Kept {
        request: request.try_into().map_err(|_| unreadable())?,
        answer: Answer {
            status: u16::try_from(status).map_err(|_| unreadable())?,
            etag: row.try_get("etag")?,
            body: row.try_get("answer")?,
        },
    })
}

/// Keeps an answer for a time, in the transaction of the effect and under [`enter`].
pub async fn keep(tenant: &Tenant, once: &Once, kept: &Kept, time: Duration) -> Result<()> {
    let Kept { request, answer } = kept;
    tenant
        .execute(
            "insert into idempotency_keys (organization_id, principal, key, request_hash, status, etag, answer, expires_at)
             values (current_organization(), $1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
             on conflict (organization_id, principal, key) do update
             set request_hash = excluded.request_hash, status = excluded.status, etag = excluded.etag,
                 answer = excluded.answer, created_at = now(), expires_at = excluded.expires_at",
            &[
                &once.principal,
                &once.key,
                &request.as_slice(),
                &i32::from(answer.status),
                &answer.etag,
                &answer.body,
                &time.as_secs_f64(),
            ],
        )
        .await?;
    Ok(())
}

/// Forgets what need not be kept any longer, over all organizations, at most so many; how many there were.
pub async fn forget(ring: &Ring, most: i64) -> Result<u64> {
    ring.execute(
        "delete from idempotency_keys where (organization_id, principal, key) in (
             select organization_id, principal, key from idempotency_keys where expires_at <= now() limit $1)",
        &[&most],
    )
    .await
}

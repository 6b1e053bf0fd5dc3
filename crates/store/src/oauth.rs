//! OAuth 2.0: an application that a token server knows, the tokens that it gave for a credential, and consents that were
//! asked for. Nothing here speaks to a token server; what one gave is written down here before it is used.

mod application;
mod consent;
pub(crate) mod expiry;
mod token;

pub use application::{Application, ApplicationFields, OpenedApplication, application, opened, remove, set};
pub use consent::{Asked, Given, Redeemed, ask, given, organization, redeem};
pub use expiry::{Expiring, Kind as ExpiringKind, ending, expiring, warn};
pub use token::{NewTokens, Tokens, held_back, needs_consent, refused, renewed, take_turn, tokens};

use model::id::CredentialId;
use model::secret::Secret;
use tokio_postgres::Row;

use crate::seal::{self, KeyRing, Part, Sealed};
use crate::{Result, Tenant};

/// A secret from its two columns, `{prefix}sealed` and `{prefix}sealed_with`.
fn unsealed(
    tenant: &Tenant,
    ring: &KeyRing,
    id: CredentialId,
    part: Part,
    row: &Row,
    prefix: &str,
) -> Result<Option<Secret>> {
    let bytes: Option<Vec<u8>> = row.try_get(format!("{prefix}sealed").as_str())?;
    let key: Option<String> = row.try_get(format!("{prefix}sealed_with").as_str())?;
    match bytes.zip(key) {
        Some((bytes, key)) => {
            Ok(Some(seal::open_part(ring, tenant.organization(), id, part, &Sealed { bytes, key })?))
        }
        None => Ok(None),
    }
}

/// Seals a secret of this part, if there is one, into its two columns.
fn sealed(
    tenant: &Tenant,
    ring: &KeyRing,
    id: CredentialId,
    part: Part,
    secret: Option<&Secret>,
) -> (Option<Vec<u8>>, Option<String>) {
    let sealed = secret.map(|secret| seal::seal_part(ring, tenant.organization(), id, part, secret));
    sealed.map(|sealed| (sealed.bytes, sealed.key)).unzip()
}

/// Seals all secrets of these tables again with the ring's active key; how many it were.
pub(crate) async fn reseal(tenant: &Tenant, ring: &KeyRing, limit: i64) -> Result<u64> {
    let mut count = 0;
    for (table, key, part, prefix) in [
        ("oauth_applications", "id", Part::ClientSecret, ""),
        ("oauth_tokens", "credential_id", Part::Refresh, "refresh_"),
        ("oauth_tokens", "credential_id", Part::Access, "access_"),
        ("oauth_consents", "id", Part::Verifier, "verifier_"),
    ] {
        let rows = tenant
            .query(
                &format!(
                    "select {key} as id, {prefix}sealed, {prefix}sealed_with from {table}
                     where {prefix}sealed_with <> $1 order by {key} limit $2 for update skip locked"
                ),
                &[&ring.active_name(), &limit],
            )
            .await?;
        for row in &rows {
            let id = CredentialId(row.try_get("id")?);
            let secret = unsealed(tenant, ring, id, part, row, prefix)?;
            let (bytes, name) = sealed(tenant, ring, id, part, secret.as_ref());
            count += tenant
                .execute(
                    &format!(
                        "update {table} set {prefix}sealed = $2, {prefix}sealed_with = $3 where {key} = $1"
                    ),
                    &[&id.0, &bytes, &name],
                )
                .await?;
        }
    }
    Ok(count)
}

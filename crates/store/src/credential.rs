//! Credentials: a user name and a sealed secret, owned by a profile or a mailbox. [`open`] is the only function of the
//! whole program that gives a secret back, and it is for whoever signs in to a mail server.

use jiff::Timestamp;
use model::id::{CredentialId, MailboxId, OrganizationId, ProfileId};
use model::secret::Secret;

use crate::change::{Author, Change, Fields};
use crate::seal::{self, KeyRing, Sealed};
use crate::{Result, Tenant, change};

/// Whose a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialOwner {
    /// One for all mailboxes of a profile.
    Profile(ProfileId),
    /// A mailbox's own.
    Mailbox(MailboxId),
}

impl CredentialOwner {
    fn columns(self) -> (Option<uuid::Uuid>, Option<uuid::Uuid>) {
        match self {
            Self::Profile(id) => (Some(id.0), None),
            Self::Mailbox(id) => (None, Some(id.0)),
        }
    }
}

/// What may be shown of a credential.
#[derive(Clone)]
pub struct Credential {
    /// Which.
    pub id: CredentialId,
    /// The login name.
    pub username: String,
    /// When the secret was stored.
    pub modified_at: Timestamp,
}

/// A credential to sign in with.
#[derive(Clone)]
pub struct Opened {
    /// The login name.
    pub username: String,
    /// The secret.
    pub secret: Secret,
}

/// The credential of a profile or mailbox, without its secret.
pub async fn of(tenant: &Tenant, owner: CredentialOwner) -> Result<Option<Credential>> {
    let (profile, mailbox) = owner.columns();
    let row = tenant
        .query_opt(
            "select id, username, modified_at from credentials
             where profile_id is not distinct from $1 and mailbox_id is not distinct from $2",
            &[&profile, &mailbox],
        )
        .await?;
    row.map(|row| {
        Ok(Credential {
            id: CredentialId(row.try_get("id")?),
            username: row.try_get("username")?,
            modified_at: row.try_get("modified_at")?,
        })
    })
    .transpose()
}

/// When the secret of a credential was stored: whether it is still the one that somebody read before.
pub async fn stored_at(tenant: &Tenant, id: CredentialId) -> Result<Option<Timestamp>> {
    let row = tenant.query_opt("select modified_at from credentials where id = $1", &[&id.0]).await?;
    row.map(|row| Ok(row.try_get("modified_at")?)).transpose()
}

/// Seals a password for a profile or mailbox, in place of the one before. `profile::set_password` and
/// `mailbox::set_password` call this and reset what depends on the secret.
pub(crate) async fn put(
    tenant: &Tenant,
    ring: &KeyRing,
    owner: CredentialOwner,
    username: &str,
    secret: &Secret,
    by: &Author,
) -> Result<CredentialId> {
    let (profile, mailbox) = owner.columns();
    // The id is part of what the secret is bound to, so it must be known before sealing.
    let present = of(tenant, owner).await?;
    let id = present.as_ref().map_or_else(model::clock::new_id, |present| present.id);
    let Sealed { bytes, key } = seal::seal(ring, tenant.organization(), id, secret);
    tenant
        .execute(
            "insert into credentials (organization_id, id, profile_id, mailbox_id, kind, username, sealed, sealed_with)
             values (current_organization(), $1, $2, $3, 'password', $4, $5, $6)
             on conflict (organization_id, id) do update
             set username = excluded.username, sealed = excluded.sealed, sealed_with = excluded.sealed_with,
                 modified_at = now()",
            &[&id.0, &profile, &mailbox, &username, &bytes, &key],
        )
        .await?;
    let fields = match &present {
        Some(present) => Fields::new().changed("username", &present.username.as_str(), &username),
        None => Fields::new().set("username", username),
    };
    let change =
        Change { record_type: "credential", id: id.0, version: 1, by, fields: fields.named("secret") };
    change::write(tenant, change).await?;
    Ok(id)
}

/// The secret behind a credential; `None` when there is no such credential in the organization.
pub async fn open(tenant: &Tenant, ring: &KeyRing, id: CredentialId) -> Result<Option<Opened>> {
    let row = tenant
        .query_opt("select username, sealed, sealed_with from credentials where id = $1", &[&id.0])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let sealed = Sealed { bytes: row.try_get("sealed")?, key: row.try_get("sealed_with")? };
    let secret = seal::open(ring, tenant.organization(), id, &sealed)?;
    Ok(Some(Opened { username: row.try_get("username")?, secret }))
}

/// Seals up to `limit` secrets of the organization again with the ring's active key; how many it were. Zero means
/// that the other keys are no longer needed here.
pub async fn reseal(tenant: &Tenant, ring: &KeyRing, limit: i64) -> Result<u64> {
    let rows = tenant
        .query(
            "select id, sealed, sealed_with from credentials where sealed_with <> $1
             order by id limit $2 for update skip locked",
            &[&ring.active_name(), &limit],
        )
        .await?;
    let organization: OrganizationId = tenant.organization();
    let (mut ids, mut sealed) = (Vec::new(), Vec::new());
    for row in &rows {
        let id = CredentialId(row.try_get("id")?);
        let old = Sealed { bytes: row.try_get("sealed")?, key: row.try_get("sealed_with")? };
        let secret = seal::open(ring, organization, id, &old)?;
        ids.push(id.0);
        sealed.push(seal::seal(ring, organization, id, &secret).bytes);
    }
    tenant
        .execute(
            "update credentials set sealed = u.sealed, sealed_with = $3
             from unnest($1::uuid[], $2::bytea[]) as u(id, sealed) where credentials.id = u.id",
            &[&ids, &sealed, &ring.active_name()],
        )
        .await
}

/// Seals every secret of the organization again with the ring's active key; how many it were.
pub async fn reseal_all(tenant: &Tenant, ring: &KeyRing) -> Result<u64> {
    let mut count = 0;
    loop {
        match reseal(tenant, ring, 100).await? {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

//! Credentials: a user name and a sealed secret, owned by a profile or a mailbox. [`open`] is the only function of the
//! whole program that gives a password back, and it is for whoever signs in to a mail server. What a credential by OAuth
//! signs in with is in [`crate::oauth`].

use jiff::Timestamp;
use model::credential::CredentialKind;
use model::id::{CredentialId, MailboxId, OrganizationId, ProfileId};
use model::secret::Secret;

use crate::alert::Subject;
use crate::change::{Author, Change, Fields};
use crate::oauth::expiry;
use crate::row::named;
use crate::seal::{self, KeyRing, Sealed};
use crate::{Result, Tenant, change, oauth};

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
    /// What it is.
    pub kind: CredentialKind,
    /// The login name; of an application's own tokens the application's name, which opens many mailboxes.
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
            "select id, kind, username, modified_at from credentials
             where profile_id is not distinct from $1 and mailbox_id is not distinct from $2",
            &[&profile, &mailbox],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// A credential by its id, without its secret.
pub async fn get(tenant: &Tenant, id: CredentialId) -> Result<Option<Credential>> {
    let row = tenant
        .query_opt("select id, kind, username, modified_at from credentials where id = $1", &[&id.0])
        .await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &tokio_postgres::Row) -> Result<Credential> {
    Ok(Credential {
        id: CredentialId(row.try_get("id")?),
        kind: named(row, "kind")?,
        username: row.try_get("username")?,
        modified_at: row.try_get("modified_at")?,
    })
}

/// A credential whose tokens a token server gives, in place of the one before; its tokens are written by `oauth`.
pub(crate) async fn put_oauth(
    tenant: &Tenant,
    owner: CredentialOwner,
    kind: CredentialKind,
    username: &str,
    by: &Author,
) -> Result<CredentialId> {
    let (profile, mailbox) = owner.columns();
    let present = of(tenant, owner).await?;
    let id = present.as_ref().map_or_else(model::clock::new_id, |present| present.id);
    tenant
        .execute(
            "insert into credentials (organization_id, id, profile_id, mailbox_id, kind, username)
             values (current_organization(), $1, $2, $3, $4, $5)
             on conflict (organization_id, id) do update
             set kind = excluded.kind, username = excluded.username, sealed = null, sealed_with = null,
                 modified_at = now()",
            &[&id.0, &profile, &mailbox, &kind.as_str(), &username],
        )
        .await?;
    tenant
        .execute(
            "insert into oauth_tokens (organization_id, credential_id) values (current_organization(), $1)
             on conflict do nothing",
            &[&id.0],
        )
        .await?;
    let fields = match &present {
        Some(present) => Fields::new().changed("kind", &present.kind.as_str(), &kind.as_str()).changed(
            "username",
            &present.username.as_str(),
            &username,
        ),
        None => Fields::new().set("kind", kind.as_str()).set("username", username),
    };
    let change =
        Change { record_type: "credential", id: id.0, version: 1, by, fields: fields.named("secret") };
    change::write(tenant, change).await?;
    Ok(id)
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
             set kind = 'password', username = excluded.username, sealed = excluded.sealed,
                 sealed_with = excluded.sealed_with, modified_at = now()",
            &[&id.0, &profile, &mailbox, &username, &bytes, &key],
        )
        .await?;
    // A password in place of tokens: they are forgotten.
    tenant.execute("delete from oauth_tokens where credential_id = $1", &[&id.0]).await?;
    let subject = match owner {
        CredentialOwner::Profile(id) => Subject::Profile(id),
        CredentialOwner::Mailbox(id) => Subject::Mailbox(id),
    };
    expiry::renewed(tenant, expiry::Kind::RefreshToken, subject).await?;
    let fields = match &present {
        Some(present) => Fields::new().changed("username", &present.username.as_str(), &username),
        None => Fields::new().set("username", username),
    };
    let change =
        Change { record_type: "credential", id: id.0, version: 1, by, fields: fields.named("secret") };
    change::write(tenant, change).await?;
    Ok(id)
}

/// The password behind a credential; `None` when there is no such credential in the organization, or it is none by
/// password.
pub async fn open(tenant: &Tenant, ring: &KeyRing, id: CredentialId) -> Result<Option<Opened>> {
    let row = tenant
        .query_opt(
            "select username, sealed, sealed_with from credentials where id = $1 and kind = 'password'",
            &[&id.0],
        )
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
    let passwords = tenant
        .execute(
            "update credentials set sealed = u.sealed, sealed_with = $3
             from unnest($1::uuid[], $2::bytea[]) as u(id, sealed) where credentials.id = u.id",
            &[&ids, &sealed, &ring.active_name()],
        )
        .await?;
    Ok(passwords + oauth::reseal(tenant, ring, limit).await?)
}

/// Seals every secret of the organization again with the ring's active key, those aside that somebody else is writing at the
/// moment; how many it were.
pub async fn reseal_all(tenant: &Tenant, ring: &KeyRing) -> Result<u64> {
    let mut count = 0;
    loop {
        match reseal(tenant, ring, 100).await? {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

/// How many secrets of the organization are still sealed with another key than the ring's active one.
pub async fn to_reseal(tenant: &Tenant, ring: &KeyRing) -> Result<i64> {
    let row = tenant
        .query_one(
            "select (select count(*) from credentials where sealed_with <> $1)
                 + (select count(*) from oauth_applications where sealed_with <> $1)
                 + (select count(*) from oauth_tokens where refresh_sealed_with <> $1 or access_sealed_with <> $1)
                 + (select count(*) from oauth_consents where verifier_sealed_with <> $1)",
            &[&ring.active_name()],
        )
        .await?;
    Ok(row.try_get(0)?)
}

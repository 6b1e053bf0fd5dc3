//! API keys. A key is shown once, when it is made; only its SHA-256 is stored, and nothing leads back.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use model::actor::{Principal, Scope};
use model::id::{KeyId, OrganizationId, UserId};
use model::mailbox::Role;
use model::secret::{ExposeSecret as _, Secret};
use sha2::{Digest as _, Sha256};

use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_line};
use crate::{Error, Result, Ring, Tenant, change, row};

/// What a key begins with, so that people and scanners know it when they see it.
pub const PREFIX: &str = "lk_";

/// Whom a key speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// A user, with everything the user may do.
    User(UserId),
    /// A service, with these scopes.
    Service(Vec<Scope>),
}

/// A key as it may be shown.
#[derive(Clone, Debug)]
pub struct Key {
    /// Which.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// Whom it speaks for.
    pub owner: KeyOwner,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
}

/// The hash that a key is found by.
pub fn hash(key: &Secret) -> [u8; 32] {
    Sha256::digest(key.expose_secret().as_bytes()).into()
}

/// Makes a key. The secret is the only copy there will ever be.
pub async fn create(tenant: &Tenant, name: &str, owner: &KeyOwner, by: &Author) -> Result<(KeyId, Secret)> {
    check_line("name", name, 1, 200)?;
    let id: KeyId = model::clock::new_id();
    let key = Secret::from(format!(
        "{PREFIX}{}",
        BASE64_URL_SAFE_NO_PAD.encode(model::clock::random_bytes::<32>())
    ));
    let (user, scopes) = match owner {
        KeyOwner::User(user) => (Some(user.0), Vec::new()),
        KeyOwner::Service(scopes) => (None, scopes.iter().map(|scope| scope.as_str()).collect()),
    };
    tenant
        .execute(
            "insert into api_keys (organization_id, id, name, hash, user_id, scopes)
             values (current_organization(), $1, $2, $3, $4, $5)",
            &[&id.0, &name, &hash(&key).as_slice(), &user, &scopes],
        )
        .await
        .map_err(|error| match error.constraint() {
            Some("api_keys_organization_id_user_id_fkey") => {
                Error::from(Refusal::Unknown { what: "user", field: "user" })
            }
            _ => error,
        })?;
    let fields = Fields::new().set("name", name).set("user", user).set("scopes", &scopes).named("key");
    change::write(tenant, Change { record_type: "key", id: id.0, version: 1, by, fields }).await?;
    Ok((id, key))
}

/// All keys, the newest first.
pub async fn list(tenant: &Tenant) -> Result<Vec<Key>> {
    let rows = tenant
        .query("select id, name, user_id, scopes, created_at, revoked_at from api_keys order by id desc", &[])
        .await?;
    rows.iter()
        .map(|row| {
            let user: Option<uuid::Uuid> = row.try_get("user_id")?;
            let owner = match user {
                Some(user) => KeyOwner::User(UserId(user)),
                None => KeyOwner::Service(scopes(row)?),
            };
            Ok(Key {
                id: KeyId(row.try_get("id")?),
                name: row.try_get("name")?,
                owner,
                created_at: row.try_get("created_at")?,
                revoked_at: row.try_get("revoked_at")?,
            })
        })
        .collect()
}

/// Withdraws a key; doing it again changes nothing.
pub async fn revoke(tenant: &Tenant, id: KeyId, by: &Author) -> Result<()> {
    let revoked = tenant
        .execute("update api_keys set revoked_at = now() where id = $1 and revoked_at is null", &[&id.0])
        .await?;
    if revoked == 0 {
        return match tenant.query_opt("select from api_keys where id = $1", &[&id.0]).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::Unknown { what: "key", field: "id" }.into()),
        };
    }
    let fields = Fields::new().changed("revoked", &false, &true);
    change::write(tenant, Change { record_type: "key", id: id.0, version: 2, by, fields }).await
}

/// Who a key speaks for; `None` when it is unknown, withdrawn, or its user is not active.
pub async fn authenticate(ring: &Ring, hash: [u8; 32]) -> Result<Option<Principal>> {
    let row = ring
        .query_opt(
            "select organization_id, key_id, user_id, role, scopes from authenticate($1)",
            &[&hash.as_slice()],
        )
        .await?;
    row.map(|row| {
        let user: Option<uuid::Uuid> = row.try_get("user_id")?;
        let role: Option<Role> = row::named_if(&row, "role")?;
        Ok(Principal {
            organization: OrganizationId(row.try_get("organization_id")?),
            key: KeyId(row.try_get("key_id")?),
            user: user.map(UserId).zip(role),
            scopes: scopes(&row)?,
        })
    })
    .transpose()
}

fn scopes(row: &tokio_postgres::Row) -> Result<Vec<Scope>> {
    let names: Vec<String> = row.try_get("scopes")?;
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

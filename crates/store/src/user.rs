//! Users: people who use the application and may own a mailbox. One who leaves is made inactive and everything of theirs
//! stops; one who is removed leaves a tombstone, and the records keep pointing to somebody.

mod delete;

use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::UserId;
use model::mailbox::Role;
use tokio_postgres::Row;

use crate::called::{self, Called, check_free};
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_external_id, check_line, check_version};
use crate::{Error, Result, Tenant, address, change, mailbox, row};

pub use delete::{delete, deletion};

/// A person.
#[derive(Clone)]
pub struct User {
    /// Which.
    pub id: UserId,
    /// The name to show.
    pub name: String,
    /// The address, unique among the organization's users.
    pub address: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may sign in.
    pub active: bool,
    /// The host application's id.
    pub external_id: Option<String>,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
}

/// What a user is made of.
#[derive(Clone)]
pub struct NewUser {
    /// The name to show.
    pub name: String,
    /// The address.
    pub address: EmailAddress,
    /// What they may do.
    pub role: Role,
    /// The host application's id.
    pub external_id: Option<String>,
}

/// What may be changed of a user; `None` leaves it as it is.
#[derive(Clone, Default)]
pub struct UserUpdate {
    /// The name to show.
    pub name: Option<String>,
    /// The address.
    pub address: Option<EmailAddress>,
    /// What they may do.
    pub role: Option<Role>,
    /// Whether they may sign in.
    pub active: Option<bool>,
}

const COLUMNS: &str = "id, name, address, role, active, external_id, version, created_at, modified_at";

fn read(row: &Row) -> Result<User> {
    Ok(User {
        id: UserId(row.try_get("id")?),
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        role: row::named(row, "role")?,
        active: row.try_get("active")?,
        external_id: row.try_get("external_id")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
    })
}

/// Makes a user, with an address that mail resolves to.
pub async fn create(tenant: &Tenant, new: &NewUser, by: &Author) -> Result<User> {
    check_line("name", &new.name, 1, 200)?;
    check_external_id(new.external_id.as_ref())?;
    check_free(tenant, "user", "users", new.external_id.as_ref(), None).await?;
    let id: UserId = model::clock::new_id();
    let row = tenant
        .query_one(
            &format!(
                "insert into users (organization_id, id, name, address, role, external_id)
                 values (current_organization(), $1, $2, $3, $4, $5) returning {COLUMNS}"
            ),
            &[&id.0, &new.name, &new.address.as_str(), &new.role.as_str(), &new.external_id],
        )
        .await
        .map_err(refused)?;
    let user = read(&row)?;
    address::replace(tenant, "user", id.0, &user.name, std::slice::from_ref(&user.address)).await?;
    let fields = Fields::new()
        .set("name", &user.name)
        .set("address", &user.address)
        .set("role", user.role)
        .set("external_id", &user.external_id);
    change::write(tenant, Change { record_type: "user", id: id.0, version: 1, by, fields }).await?;
    Ok(user)
}

/// One user.
pub async fn get(tenant: &Tenant, id: UserId) -> Result<Option<User>> {
    let row = tenant.query_opt(&format!("select {COLUMNS} from users where id = $1"), &[&id.0]).await?;
    row.as_ref().map(read).transpose()
}

/// Users in the order they were made, after the last of the page before.
pub async fn list(tenant: &Tenant, called: &Called, after: Option<UserId>, limit: i64) -> Result<Vec<User>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from users
                 where ($1::uuid is null or id > $1)
                   and ($3::text is null or address_key = lower($3)) and ($4::text is null or lower(name) = lower($4))
                   and ($5::text is null or external_id = $5)
                 order by id limit $2"
            ),
            &[&after.map(|id| id.0), &limit, &called.address, &called.name, &called.external_id],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Makes the user with this external id so, or makes one; says whether it is new. A role that is not given stays.
pub async fn upsert(
    tenant: &Tenant,
    external_id: &str,
    new: &NewUser,
    role: Option<Role>,
    by: &Author,
) -> Result<(User, bool)> {
    if let Some(id) = called::by_external_id(tenant, "users", external_id).await? {
        let change = UserUpdate {
            name: Some(new.name.clone()),
            address: Some(new.address.clone()),
            role,
            active: None,
        };
        return Ok((update(tenant, UserId(id), None, &change, by).await?, false));
    }
    let new = NewUser { external_id: Some(external_id.to_owned()), ..new.clone() };
    Ok((create(tenant, &new, by).await?, true))
}

/// Makes those who change who administers take turns, before they lock anybody's row: of two who take each other's role
/// away one is refused.
async fn in_turn(tenant: &Tenant) -> Result<()> {
    tenant
        .query_one(
            "select pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'administrators', current_organization()), 0))",
            &[],
        )
        .await?;
    Ok(())
}

/// Refuses to take the organization's last active administrator away.
async fn check_not_last(tenant: &Tenant, id: UserId) -> Result<()> {
    let row = tenant
        .query_one("select count(*) from users where role = 'admin' and active and id <> $1", &[&id.0])
        .await?;
    if row.try_get::<_, i64>(0)? == 0 { Err(Refusal::LastAdministrator.into()) } else { Ok(()) }
}

/// Changes a user; `expected` is the version that the caller read. One who is made inactive has left: their keys open
/// nothing, their mailbox stops, and what they had waiting to be sent is a draft again.
pub async fn update(
    tenant: &Tenant,
    id: UserId,
    expected: Option<i64>,
    update: &UserUpdate,
    by: &Author,
) -> Result<User> {
    if update.role.is_some() || update.active.is_some() {
        in_turn(tenant).await?;
    }
    let row = tenant
        .query_opt(&format!("select {COLUMNS} from users where id = $1 for no key update"), &[&id.0])
        .await?
        .ok_or(Refusal::Unknown { what: "user", field: "id" })?;
    let old = read(&row)?;
    check_version("user", expected, old.version)?;
    let name = update.name.as_ref().unwrap_or(&old.name);
    check_line("name", name, 1, 200)?;
    let address = update.address.as_ref().map_or(old.address.as_str(), EmailAddress::as_str);
    let role = update.role.unwrap_or(old.role);
    let active = update.active.unwrap_or(old.active);
    let fields = Fields::new()
        .changed("name", &old.name, name)
        .changed("address", &old.address.as_str(), &address)
        .changed("role", &old.role, &role)
        .changed("active", &old.active, &active);
    if fields.is_empty() {
        return Ok(old);
    }
    if (old.role, old.active) == (Role::Admin, true) && (role, active) != (Role::Admin, true) {
        check_not_last(tenant, id).await?;
    }
    let row = tenant
        .query_one(
            &format!(
                "update users set name = $2, address = $3, role = $4, active = $5, version = version + 1,
                                  modified_at = now()
                 where id = $1 returning {COLUMNS}"
            ),
            &[&id.0, name, &address, &role.as_str(), &active],
        )
        .await
        .map_err(refused)?;
    let user = read(&row)?;
    // Somebody who left is nobody that mail resolves to.
    let addresses = if active { std::slice::from_ref(&user.address) } else { &[] };
    address::replace(tenant, "user", id.0, &user.name, addresses).await?;
    change::write(tenant, Change { record_type: "user", id: id.0, version: user.version, by, fields })
        .await?;
    if old.active && !active {
        mailbox::stop_for(tenant, id, by).await?;
    }
    Ok(user)
}

fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("users_address") => Refusal::Taken { what: "user", field: "address" }.into(),
        Some("users_organization_id_external_id_key") => {
            Refusal::Taken { what: "user", field: "external_id" }.into()
        }
        _ => error,
    }
}

//! Contacts: names with the addresses that mail resolves to. Their further fields come with synchronization of contacts.

use jiff::Timestamp;
use model::address::{EmailAddress, normalize};
use model::id::ContactId;
use model::mailbox::Owner;
use tokio_postgres::Row;

use crate::called::{self, Called, check_free};
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_external_id, check_line, check_version};
use crate::{Error, Result, Tenant, address, change, row};

/// Somebody the organization knows.
#[derive(Clone)]
pub struct Contact {
    /// Which.
    pub id: ContactId,
    /// The name to show.
    pub name: String,
    /// The addresses in their normal form, in alphabetical order.
    pub addresses: Vec<String>,
    /// Whose contact it is.
    pub owner: Option<Owner>,
    /// The host application's id.
    pub external_id: Option<String>,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
}

/// What a contact is made of.
#[derive(Clone)]
pub struct NewContact {
    /// The name to show.
    pub name: String,
    /// The addresses.
    pub addresses: Vec<EmailAddress>,
    /// Whose contact it is.
    pub owner: Option<Owner>,
    /// The host application's id.
    pub external_id: Option<String>,
}

/// What may be changed of a contact; `None` leaves it as it is.
#[derive(Clone, Default)]
pub struct ContactUpdate {
    /// The name to show.
    pub name: Option<String>,
    /// All addresses from now on.
    pub addresses: Option<Vec<EmailAddress>>,
    /// Whose contact it is from now on; nobody's with `Some(None)`.
    pub owner: Option<Option<Owner>>,
}

const COLUMNS: &str = "id, name, owner_kind, owner_id, external_id, version, created_at, modified_at,
    array(select a.address from addresses a where a.organization_id = contacts.organization_id
          and a.party_type = 'contact' and a.party_id = contacts.id order by a.address) as addresses";

fn read(row: &Row) -> Result<Contact> {
    Ok(Contact {
        id: ContactId(row.try_get("id")?),
        name: row.try_get("name")?,
        addresses: row.try_get("addresses")?,
        owner: row::owner(row)?,
        external_id: row.try_get("external_id")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
    })
}

/// Makes a contact.
pub async fn create(tenant: &Tenant, new: &NewContact, by: &Author) -> Result<Contact> {
    check_line("name", &new.name, 1, 200)?;
    check_external_id(new.external_id.as_ref())?;
    check_free(tenant, "contact", "contacts", new.external_id.as_ref(), None).await?;
    if let Some(owner) = new.owner {
        check_owner(tenant, owner).await?;
    }
    let id: ContactId = model::clock::new_id();
    let owner_kind = new.owner.map(|owner| owner.kind().as_str());
    let owner_id = new.owner.map(Owner::id);
    tenant
        .execute(
            "insert into contacts (organization_id, id, name, owner_kind, owner_id, external_id)
             values (current_organization(), $1, $2, $3, $4, $5)",
            &[&id.0, &new.name, &owner_kind, &owner_id, &new.external_id],
        )
        .await
        .map_err(refused)?;
    address::replace(tenant, "contact", id.0, &new.name, &texts(&new.addresses)).await?;
    let contact = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "contact", field: "id" })?;
    let fields = Fields::new()
        .set("name", &contact.name)
        .set("addresses", &contact.addresses)
        .set("owner", contact.owner)
        .set("external_id", &contact.external_id);
    change::write(tenant, Change { record_type: "contact", id: id.0, version: 1, by, fields }).await?;
    Ok(contact)
}

/// One contact.
pub async fn get(tenant: &Tenant, id: ContactId) -> Result<Option<Contact>> {
    let row = tenant.query_opt(&format!("select {COLUMNS} from contacts where id = $1"), &[&id.0]).await?;
    row.as_ref().map(read).transpose()
}

/// Contacts in the order they were made, after the last of the page before.
pub async fn list(
    tenant: &Tenant,
    called: &Called,
    after: Option<ContactId>,
    limit: i64,
) -> Result<Vec<Contact>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from contacts
                 where ($1::uuid is null or id > $1)
                   and ($3::text is null or id in (
                        select a.party_id from addresses a where a.party_type = 'contact' and a.address = $3))
                   and ($4::text is null or lower(name) = lower($4)) and ($5::text is null or external_id = $5)
                 order by id limit $2"
            ),
            &[
                &after.map(|id| id.0),
                &limit,
                &called.address.as_deref().map(normalize),
                &called.name,
                &called.external_id,
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Changes a contact; `expected` is the version that the caller read.
pub async fn update(
    tenant: &Tenant,
    id: ContactId,
    expected: Option<i64>,
    update: &ContactUpdate,
    by: &Author,
) -> Result<Contact> {
    let row = tenant
        .query_opt(&format!("select {COLUMNS} from contacts where id = $1 for no key update"), &[&id.0])
        .await?
        .ok_or(Refusal::Unknown { what: "contact", field: "id" })?;
    let old = read(&row)?;
    check_version("contact", expected, old.version)?;
    let name = update.name.as_ref().unwrap_or(&old.name);
    check_line("name", name, 1, 200)?;
    let mut addresses = update.addresses.as_ref().map_or_else(|| old.addresses.clone(), |list| texts(list));
    addresses.sort_unstable();
    addresses.dedup();
    let owner = update.owner.unwrap_or(old.owner);
    if let Some(new) = owner.filter(|_| owner != old.owner) {
        check_owner(tenant, new).await?;
    }
    let fields = Fields::new()
        .changed("name", &old.name, name)
        .changed("addresses", &old.addresses, &addresses)
        .changed("owner", &old.owner, &owner);
    if fields.is_empty() {
        return Ok(old);
    }
    tenant
        .execute(
            "update contacts set name = $2, owner_kind = $3, owner_id = $4, version = version + 1, modified_at = now()
             where id = $1",
            &[&id.0, name, &owner.map(|owner| owner.kind().as_str()), &owner.map(Owner::id)],
        )
        .await?;
    address::replace(tenant, "contact", id.0, name, &addresses).await?;
    let version = old.version + 1;
    change::write(tenant, Change { record_type: "contact", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| Refusal::Unknown { what: "contact", field: "id" }.into())
}

/// Makes the contact with this external id so, or makes one; says whether it is new.
pub async fn upsert(
    tenant: &Tenant,
    external_id: &str,
    new: &NewContact,
    by: &Author,
) -> Result<(Contact, bool)> {
    if let Some(id) = called::by_external_id(tenant, "contacts", external_id).await? {
        let change = ContactUpdate {
            name: Some(new.name.clone()),
            addresses: Some(new.addresses.clone()),
            owner: Some(new.owner),
        };
        return Ok((update(tenant, ContactId(id), None, &change, by).await?, false));
    }
    let new = NewContact { external_id: Some(external_id.to_owned()), ..new.clone() };
    Ok((create(tenant, &new, by).await?, true))
}

/// Removes a contact; emails keep the address as it was written.
pub async fn delete(tenant: &Tenant, id: ContactId, expected: Option<i64>, by: &Author) -> Result<()> {
    let row = tenant
        .query_opt("select version from contacts where id = $1 for no key update", &[&id.0])
        .await?
        .ok_or(Refusal::Unknown { what: "contact", field: "id" })?;
    let version: i64 = row.try_get("version")?;
    check_version("contact", expected, version)?;
    tenant.execute("delete from contacts where id = $1", &[&id.0]).await?;
    address::replace(tenant, "contact", id.0, "", &[]).await?;
    let fields = Fields::new().changed("deleted", &false, &true);
    change::write(tenant, Change { record_type: "contact", id: id.0, version: version + 1, by, fields }).await
}

/// The owner is one of the organization's: no foreign key can say so of two tables.
async fn check_owner(tenant: &Tenant, owner: Owner) -> Result<()> {
    let (what, table) = match owner {
        Owner::User(_) => ("user", "users"),
        Owner::Queue(_) => ("queue", "queues"),
    };
    let row =
        tenant.query_opt(&format!("select from {table} where id = $1 for key share"), &[&owner.id()]).await?;
    row.map(|_| ()).ok_or_else(|| Refusal::Unknown { what, field: "owner" }.into())
}

fn texts(addresses: &[EmailAddress]) -> Vec<String> {
    addresses.iter().map(EmailAddress::normalized).collect()
}

fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("contacts_organization_id_external_id_key") => {
            Refusal::Taken { what: "contact", field: "external_id" }.into()
        }
        _ => error,
    }
}

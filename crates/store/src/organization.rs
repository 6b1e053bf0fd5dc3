//! Organizations: the tenants. Each transaction sees its own and no other.

use jiff::Timestamp;
use model::actor::Actor;
use model::id::OrganizationId;

use crate::change::Author;
use crate::refusal::{Refusal, check_line};
use crate::{Result, Tenant, job_schedule};

/// A tenant.
#[derive(Clone, Debug)]
pub struct Organization {
    /// Which.
    pub id: OrganizationId,
    /// Its name, unique in the installation.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// Makes the organization that the transaction already names: begin it with a new id. It begins with one schedule, which
/// cleans up.
pub async fn create(tenant: &Tenant, name: &str) -> Result<OrganizationId> {
    check_line("name", name, 1, 100)?;
    let made = tenant
        .execute(
            "insert into organizations (id, name) values (current_organization(), $1) on conflict do nothing",
            &[&name],
        )
        .await?;
    if made == 0 {
        return Err(Refusal::Taken { what: "organization", field: "name" }.into());
    }
    job_schedule::create_first(tenant, &Author::new(Actor::Operator, "organization create")).await?;
    Ok(tenant.organization())
}

/// The organization of the transaction.
pub async fn get(tenant: &Tenant) -> Result<Option<Organization>> {
    let row = tenant.query_opt("select id, name, created_at from organizations", &[]).await?;
    row.map(|row| {
        Ok(Organization {
            id: OrganizationId(row.try_get("id")?),
            name: row.try_get("name")?,
            created_at: row.try_get("created_at")?,
        })
    })
    .transpose()
}

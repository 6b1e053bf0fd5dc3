//! What people and host applications call a record by: its name, its address, the host's own id. Each compares as a whole.

use uuid::Uuid;

use crate::refusal::Refusal;
use crate::{Result, Tenant};

/// Narrows a list to what is called so; what is not given does not narrow.
#[derive(Clone, Debug, Default)]
pub struct Called {
    /// With this name, whatever its case.
    pub name: Option<String>,
    /// With this address, whatever its case.
    pub address: Option<String>,
    /// With this id of the host application, exactly.
    pub external_id: Option<String>,
}

/// Refuses an external id that another record of the kind has, and names that record. `table` is the noun's, `own` the
/// record that may have it.
pub(crate) async fn check_free(
    tenant: &Tenant,
    what: &'static str,
    table: &'static str,
    external_id: Option<&String>,
    own: Option<Uuid>,
) -> Result<()> {
    let Some(external_id) = external_id else { return Ok(()) };
    let present = tenant
        .query_opt(
            &format!(
                "select id, name from {table} where external_id = $1 and ($2::uuid is null or id <> $2)"
            ),
            &[external_id, &own],
        )
        .await?;
    match present {
        None => Ok(()),
        Some(row) => {
            Err(Refusal::ExternalIdTaken { what, id: row.try_get("id")?, name: row.try_get("name")? }.into())
        }
    }
}

/// The id of the record that has an external id. Locked against a second one that is made at the same time: whoever comes
/// later finds the first.
pub(crate) async fn by_external_id(
    tenant: &Tenant,
    table: &'static str,
    external_id: &str,
) -> Result<Option<Uuid>> {
    tenant
        .query_one(
            "select pg_advisory_xact_lock(
                 hashtextextended(concat_ws(' ', 'external', current_organization(), $1::text, $2::text), 0))",
            &[&table, &external_id],
        )
        .await?;
    let row =
        tenant.query_opt(&format!("select id from {table} where external_id = $1"), &[&external_id]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

//! Removing what an administrator set up: what would go and what stays is said before, and what is removed leaves a
//! tombstone with its name. Records are never removed with it.

use uuid::Uuid;

use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::{Result, Tenant, change};

/// What removing something would do.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The noun.
    pub record_type: &'static str,
    /// Its name.
    pub name: String,
    /// Its version: what a removal that relies on this says it has read.
    pub version: i64,
    /// What goes with it.
    pub goes: Vec<Part>,
    /// What stays, and with whom.
    pub stays: Vec<Part>,
    /// Why it cannot be removed, with the way out.
    pub refused: Option<Refusal>,
}

/// Something that goes or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What, as a plural such as `receipts`.
    pub what: &'static str,
    /// How many.
    pub count: i64,
    /// What happens to them, in a sentence.
    pub meaning: &'static str,
}

/// Counts with one statement: `$1` is the record's id.
pub(crate) async fn part(
    tenant: &Tenant,
    id: Uuid,
    (what, meaning): (&'static str, &'static str),
    count: &str,
) -> Result<Part> {
    let count = tenant.query_one(count, &[&id]).await?.try_get(0)?;
    Ok(Part { what, count, meaning })
}

/// What is removed, and by whom.
pub(crate) struct Removed<'a> {
    pub(crate) record_type: &'static str,
    pub(crate) id: Uuid,
    pub(crate) name: &'a str,
    pub(crate) address: Option<&'a str>,
    /// The version that it had.
    pub(crate) version: i64,
    pub(crate) by: &'a Author,
}

/// Writes the tombstone and the change of a row that this transaction removes.
pub(crate) async fn bury(tenant: &Tenant, removed: &Removed<'_>) -> Result<()> {
    tenant
        .execute(
            "insert into tombstones (organization_id, record_type, record_id, name, address, deleted_by)
             values (current_organization(), $1, $2, $3, $4, $5)",
            &[&removed.record_type, &removed.id, &removed.name, &removed.address, &removed.by.name()],
        )
        .await?;
    let fields = Fields::new()
        .changed("deleted", &false, &true)
        .changed("name", &Some(removed.name), &None)
        .changed("address", &removed.address, &None);
    let Removed { record_type, id, version, by, .. } = *removed;
    change::write(tenant, Change { record_type, id, version: version + 1, by, fields }).await
}

//! The kinds of records that a host application has and mail can be about. `account` and `lead` are known from the start,
//! others are registered; what is not registered has no addresses here.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_line};
use crate::{Result, Tenant, change};

/// The types that every organization has.
pub const BUILT_IN: [(&str, &str, &str); 2] = [("account", "Account", "Accounts"), ("lead", "Lead", "Leads")];
/// The types whose addresses follow records of ours.
const OURS: [&str; 3] = ["user", "queue", "contact"];

/// One kind of record.
#[derive(Clone)]
pub struct RecordType {
    /// The noun in parties and `regarding`.
    pub name: String,
    /// What one is called for people.
    pub label: String,
    /// What several are called.
    pub plural: String,
    /// Since when; none for what is built in.
    pub registered_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<RecordType> {
    Ok(RecordType {
        name: row.try_get("name")?,
        label: row.try_get("label")?,
        plural: row.try_get("plural")?,
        registered_at: row.try_get("created_at")?,
    })
}

/// All types that addresses can be given for, by name.
pub async fn list(tenant: &Tenant) -> Result<Vec<RecordType>> {
    let rows =
        tenant.query("select name, label, plural, created_at from record_types order by name", &[]).await?;
    let mut types = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    for (name, label, plural) in BUILT_IN {
        if !types.iter().any(|known| known.name == name) {
            let (name, label, plural) = (name.to_owned(), label.to_owned(), plural.to_owned());
            types.push(RecordType { name, label, plural, registered_at: None });
        }
    }
    types.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(types)
}

/// Registers a type or renames it; doing it again changes nothing.
pub async fn register(
    tenant: &Tenant,
    name: &str,
    label: &str,
    plural: &str,
    by: &Author,
) -> Result<RecordType> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !(1..=50).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(Refusal::invalid(
            "name",
            "a type has other characters than it may, or too many",
            "give up to 50 lower-case letters, digits and `_`, such as `project`",
        )
        .into());
    }
    if OURS.contains(&name) {
        return Err(Refusal::invalid(
            "name",
            format!("`{name}` is a record of Lockstep's own"),
            "choose another name for the type of your application",
        )
        .into());
    }
    check_line("label", label, 1, 100)?;
    check_line("plural", plural, 1, 100)?;
    let row = tenant
        .query_one(
            "insert into record_types (organization_id, name, label, plural)
             values (current_organization(), $1, $2, $3)
             on conflict (organization_id, name) do update set label = excluded.label, plural = excluded.plural
             returning name, label, plural, created_at,
                       (select old.label || ' / ' || old.plural from record_types old where old.name = $1) as before",
            &[&name, &label, &plural],
        )
        .await?;
    let before: Option<String> = row.try_get("before")?;
    let now = Some(format!("{label} / {plural}"));
    let fields = Fields::new().changed(name, &before, &now);
    if !fields.is_empty() {
        let id = tenant.organization().0;
        change::write(tenant, Change { record_type: "record_type", id, version: 1, by, fields }).await?;
    }
    read(&row)
}

/// Takes a type back that no address is of any more.
pub async fn remove(tenant: &Tenant, name: &str, by: &Author) -> Result<()> {
    let row = tenant.query_one("select count(*) from addresses where party_type = $1", &[&name]).await?;
    let addresses: i64 = row.try_get(0)?;
    if addresses > 0 {
        return Err(Refusal::TypeInUse { addresses }.into());
    }
    let removed = tenant.execute("delete from record_types where name = $1", &[&name]).await?;
    if removed == 0 {
        return Err(Refusal::Unknown { what: "record type", field: "id" }.into());
    }
    let fields = Fields::new().changed(name, &true, &false);
    let id = tenant.organization().0;
    change::write(tenant, Change { record_type: "record_type", id, version: 1, by, fields }).await
}

//! An organization's settings: what nobody set has the registry's default, and what is out of range is refused.

use model::setting::{self, Setting};
use serde_json::Value;

use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_version};
use crate::{Error, Result, Tenant, change};

/// One setting with its present value.
#[derive(Clone, Debug)]
pub struct SettingValue {
    /// What it is.
    pub setting: &'static Setting,
    /// Its value.
    pub value: Value,
    /// Whether somebody set it.
    pub is_set: bool,
    /// Another one after each change; 0 while nobody set it.
    pub version: i64,
}

/// One setting, by its name.
pub async fn get(tenant: &Tenant, name: &str) -> Result<SettingValue> {
    let setting = find(name)?;
    let row =
        tenant.query_opt("select value, version from settings where name = $1", &[&setting.name]).await?;
    let stored = row.map(|row| Ok::<_, Error>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
    Ok(present(setting, stored))
}

fn present(setting: &'static Setting, stored: Option<(Value, i64)>) -> SettingValue {
    let is_set = stored.is_some();
    let (value, version) = stored.unwrap_or_else(|| (setting.default(), 0));
    SettingValue { setting, value, is_set, version }
}

/// All settings, in the order of the registry.
pub async fn list(tenant: &Tenant) -> Result<Vec<SettingValue>> {
    let rows = tenant.query("select name, value, version from settings", &[]).await?;
    let mut stored = std::collections::HashMap::new();
    for row in &rows {
        stored.insert(row.try_get::<_, String>(0)?, (row.try_get(1)?, row.try_get(2)?));
    }
    Ok(setting::SETTINGS.iter().map(|setting| present(setting, stored.remove(setting.name))).collect())
}

/// Sets one setting; `None` goes back to the default. `expected` is the version that the caller read.
pub async fn set(
    tenant: &Tenant,
    name: &str,
    expected: Option<i64>,
    value: Option<&Value>,
    by: &Author,
) -> Result<SettingValue> {
    // One at a time: a row that is not there cannot be locked.
    tenant
        .query_one(
            "select pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'setting', current_organization(), $1::text), 0))",
            &[&name],
        )
        .await?;
    let old = get(tenant, name).await?;
    check_version("setting", expected, old.version)?;
    let new = value.cloned().unwrap_or_else(|| old.setting.default());
    match value {
        Some(value) => {
            old.setting.check(value).map_err(|_| {
                let remedy = format!("give {}", old.setting.wanted());
                Refusal::invalid(
                    "value",
                    format!("the setting `{}` cannot be {value}", old.setting.name),
                    remedy,
                )
            })?;
            tenant
                .execute(
                    "insert into settings (organization_id, name, value) values (current_organization(), $1, $2)
                     on conflict (organization_id, name) do update set value = excluded.value, version = excluded.version,
                                                                   modified_at = now()",
                    &[&old.setting.name, value],
                )
                .await?;
        }
        None => {
            tenant.execute("delete from settings where name = $1", &[&old.setting.name]).await?;
        }
    }
    let present = get(tenant, name).await?;
    let fields = Fields::new().changed(old.setting.name, &old.value, &new);
    if !fields.is_empty() {
        // A setting has no id of its own: it is the organization that changes.
        let (id, version) = (tenant.organization().0, present.version);
        change::write(tenant, Change { record_type: "setting", id, version, by, fields }).await?;
    }
    Ok(present)
}

fn find(name: &str) -> Result<&'static Setting> {
    Ok(setting::find(name).map_err(|_| {
        let known: Vec<_> = setting::SETTINGS.iter().map(|setting| setting.name).collect();
        Refusal::invalid("name", "there is no such setting", format!("use one of: {}", known.join(", ")))
    })?)
}

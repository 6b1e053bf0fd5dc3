//! An organization's settings: what nobody set has the registry's default, and what is out of range is refused.

use model::setting::{self, Setting};
use serde_json::Value;

use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::{Result, Tenant, change};

/// One setting with its present value.
#[derive(Clone, Debug)]
pub struct SettingValue {
    /// What it is.
    pub setting: &'static Setting,
    /// Its value.
    pub value: Value,
    /// Whether somebody set it.
    pub is_set: bool,
}

/// One setting, by its name.
pub async fn get(tenant: &Tenant, name: &str) -> Result<SettingValue> {
    let setting = find(name)?;
    let row = tenant.query_opt("select value from settings where name = $1", &[&setting.name]).await?;
    let stored: Option<Value> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(SettingValue { setting, is_set: stored.is_some(), value: stored.unwrap_or_else(|| setting.default()) })
}

/// All settings, in the order of the registry.
pub async fn list(tenant: &Tenant) -> Result<Vec<SettingValue>> {
    let rows = tenant.query("select name, value from settings", &[]).await?;
    let mut stored = std::collections::HashMap::new();
    for row in &rows {
        stored.insert(row.try_get::<_, String>(0)?, row.try_get::<_, Value>(1)?);
    }
    Ok(setting::SETTINGS
        .iter()
        .map(|setting| {
            let value = stored.remove(setting.name);
            SettingValue {
                setting,
                is_set: value.is_some(),
                value: value.unwrap_or_else(|| setting.default()),
            }
        })
        .collect())
}

/// Sets one setting; `None` goes back to the default.
pub async fn set(tenant: &Tenant, name: &str, value: Option<&Value>, by: &Author) -> Result<SettingValue> {
    let old = get(tenant, name).await?;
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
                     on conflict (organization_id, name) do update set value = excluded.value, modified_at = now()",
                    &[&old.setting.name, value],
                )
                .await?;
        }
        None => {
            tenant.execute("delete from settings where name = $1", &[&old.setting.name]).await?;
        }
    }
    let fields = Fields::new().changed(old.setting.name, &old.value, &new);
    if !fields.is_empty() {
        // A setting has no id of its own: it is the organization that changes.
        let id = tenant.organization().0;
        change::write(tenant, Change { record_type: "setting", id, version: 1, by, fields }).await?;
    }
    get(tenant, name).await
}

fn find(name: &str) -> Result<&'static Setting> {
    Ok(setting::find(name).map_err(|_| {
        let known: Vec<_> = setting::SETTINGS.iter().map(|setting| setting.name).collect();
        Refusal::invalid("name", "there is no such setting", format!("use one of: {}", known.join(", ")))
    })?)
}

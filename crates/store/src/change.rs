//! The log of changes: every change to a record, setting, mapping, approval or secret writes one row here, in the
//! transaction that made it. Secrets and bodies are named without their values.

use jiff::Timestamp;
use model::actor::Actor;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{Result, Tenant};

/// Who makes a change and why; handed to every function that changes something.
#[derive(Clone, Debug)]
pub struct Author {
    /// Who.
    pub actor: Actor,
    /// What made them, in a few words such as `api` or `synchronization`.
    pub cause: &'static str,
    /// The trace it belongs to.
    pub trace: Option<String>,
}

impl Author {
    /// An author without a trace.
    pub fn new(actor: Actor, cause: &'static str) -> Self {
        Self { actor, cause, trace: None }
    }

    /// The actor in one text, for `created_by` and `modified_by`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.actor.kind(), self.actor.id())
    }
}

/// The fields of a change, with old and new values.
#[derive(Clone, Debug, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field when its value differs.
    #[must_use]
    pub fn changed<T: Serialize + PartialEq>(mut self, name: &str, old: &T, new: &T) -> Self {
        if old != new {
            self.0.insert(name.to_owned(), json!({"old": old, "new": new}));
        }
        self
    }

    /// Adds a field of a record that is new.
    #[must_use]
    pub fn set(mut self, name: &str, new: impl Serialize) -> Self {
        self.0.insert(name.to_owned(), json!({"old": null, "new": new}));
        self
    }

    /// Adds a field whose value must not be written down: a secret or a body.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.0.insert(name.to_owned(), json!({}));
        self
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One change to one record.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The noun, such as `mailbox`.
    pub record_type: &'static str,
    /// Which; for a setting the organization.
    pub id: Uuid,
    /// The version that the change made.
    pub version: i64,
    /// Who and why.
    pub by: &'a Author,
    /// What.
    pub fields: Fields,
}

/// Writes one row.
pub async fn write(tenant: &Tenant, change: Change<'_>) -> Result<()> {
    write_all(tenant, &[change]).await
}

/// Writes many rows in one statement.
pub async fn write_all(tenant: &Tenant, changes: &[Change<'_>]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let types: Vec<_> = changes.iter().map(|change| change.record_type).collect();
    let ids: Vec<_> = changes.iter().map(|change| change.id).collect();
    let versions: Vec<_> = changes.iter().map(|change| change.version).collect();
    let kinds: Vec<_> = changes.iter().map(|change| change.by.actor.kind()).collect();
    let actors: Vec<_> = changes.iter().map(|change| change.by.actor.id()).collect();
    let causes: Vec<_> = changes.iter().map(|change| change.by.cause).collect();
    let traces: Vec<_> = changes.iter().map(|change| change.by.trace.as_deref()).collect();
    let fields: Vec<_> = changes.iter().map(|change| Value::Object(change.fields.0.clone())).collect();
    tenant
        .execute(
            "insert into changes (organization_id, record_type, record_id, version, actor_kind, actor_id, cause,
                                  trace, fields)
             select current_organization(), t, i, v, k, a, c, r, f
             from unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::jsonb[]) as u(t, i, v, k, a, c, r, f)",
            &[&types, &ids, &versions, &kinds, &actors, &causes, &traces, &fields],
        )
        .await?;
    Ok(())
}

/// One row of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the log of the organization.
    pub sequence: i64,
    /// The noun.
    pub record_type: String,
    /// Which.
    pub record_id: Uuid,
    /// The version that the change made.
    pub version: i64,
    /// `user`, `key`, `job`, `cycle` or `operator`.
    pub actor_kind: String,
    /// Which of these.
    pub actor_id: String,
    /// What made them.
    pub cause: String,
    /// The trace it belongs to.
    pub trace: Option<String>,
    /// `{field: {old, new}}`.
    pub fields: Value,
    /// When.
    pub at: Timestamp,
}

/// The history of one record, the oldest first, after a place in the log.
pub async fn of(tenant: &Tenant, record_type: &str, id: Uuid, after: i64, limit: i64) -> Result<Vec<Entry>> {
    let rows = tenant
        .query(
            "select sequence, record_type, record_id, version, actor_kind, actor_id, cause, trace, fields, at
             from changes where record_type = $1 and record_id = $2 and sequence > $3 order by sequence limit $4",
            &[&record_type, &id, &after, &limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                sequence: row.try_get("sequence")?,
                record_type: row.try_get("record_type")?,
                record_id: row.try_get("record_id")?,
                version: row.try_get("version")?,
                actor_kind: row.try_get("actor_kind")?,
                actor_id: row.try_get("actor_id")?,
                cause: row.try_get("cause")?,
                trace: row.try_get("trace")?,
                fields: row.try_get("fields")?,
                at: row.try_get("at")?,
            })
        })
        .collect()
}

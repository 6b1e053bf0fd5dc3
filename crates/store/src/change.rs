//! The log of changes: every change to a record, setting, mapping, approval or secret writes one row here, in the
//! transaction that made it. Secrets and bodies are named without their values. A history shows one record's; the feed
//! shows everything to whoever follows it, and never skips what was committed late.

mod entry;
mod feed;
mod history;
mod upkeep;

use model::actor::Actor;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{Result, Tenant};

pub use entry::{ChangeReader, Entry};
pub use feed::{Cursor, Feed, FeedFilter, HeldBack, Wakes, after, head, listen, will_wait};
pub use history::{history, of};
pub(crate) use upkeep::mend;
pub use upkeep::{forget, write_adoption};

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
            // Said only where somebody waits: a notification makes commits wait for each other.
            "with written as (
                insert into changes (organization_id, record_type, record_id, version, actor_kind, actor_id, cause,
                                     trace, fields)
                select current_organization(), t, i, v, k, a, c, r, f
                from unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                            $8::jsonb[]) as u(t, i, v, k, a, c, r, f)
             )
             select pg_notify($9, current_organization()::text)
             where exists (select from change_waiters w where w.until > now())",
            &[&types, &ids, &versions, &kinds, &actors, &causes, &traces, &fields, &feed::CHANNEL],
        )
        .await?;
    Ok(())
}

//! One row of the log as people and programs read it, with names beside the ids, and who may read which rows.

use jiff::Timestamp;
use model::id::UserId;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Result, email};

/// Who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeReader {
    /// A person: changes of what the person may see, and what they did themselves.
    User(UserId),
    /// An administrator or a service with the right to: everything of the organization.
    Everything,
}

impl ChangeReader {
    pub(super) fn user(self) -> Option<Uuid> {
        match self {
            Self::User(id) => Some(id.0),
            Self::Everything => None,
        }
    }
}

/// One row of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the log of the organization.
    pub sequence: i64,
    /// The transaction that wrote it.
    pub(super) transaction: u64,
    /// The noun.
    pub record_type: String,
    /// Which.
    pub record_id: Uuid,
    /// Its name, of what has one; also when it is gone.
    pub record_name: Option<String>,
    /// The version that the change made.
    pub version: i64,
    /// `user`, `key`, `job`, `schedule`, `cycle` or `operator`.
    pub actor_kind: String,
    /// Which of these; empty when the reader may not know.
    pub actor_id: String,
    /// Its name: a person's, a key's, a schedule's, a job's kind, or that of a cycle's mailbox.
    pub actor_name: Option<String>,
    /// What made them.
    pub cause: String,
    /// The trace it belongs to.
    pub trace: Option<String>,
    /// `{field: {old, new}}`.
    pub fields: Value,
    /// When.
    pub at: Timestamp,
}

/// The columns that [`read`] reads, of `changes c`, for the reader in a parameter. Which mailbox's cycle made an email is
/// told only to those whose mailbox it is: another one may be that of somebody in Bcc.
pub(super) fn columns(reader: &str) -> String {
    let own = email::own_mailbox(reader);
    let hidden = |id: &str| {
        format!(
            "({reader}::uuid is not null and not exists (
                select from mailboxes m where m.organization_id = c.organization_id and m.id::text = {id} and {own}))"
        )
    };
    let of_cycle = hidden("split_part(c.actor_id, '/', 1)");
    let of_email = hidden("c.fields #>> '{mailbox,new}'");
    format!(
        "c.sequence, c.transaction_id::text, c.record_type, c.record_id, c.version, c.actor_kind, c.cause, c.trace, c.at,
         coalesce(case c.record_type
            when 'mailbox' then (select m.name from mailboxes m where m.organization_id = c.organization_id and m.id = c.record_id)
            when 'user' then (select u.name from users u where u.organization_id = c.organization_id and u.id = c.record_id)
            when 'queue' then (select q.name from queues q where q.organization_id = c.organization_id and q.id = c.record_id)
            when 'profile' then (select p.name from profiles p where p.organization_id = c.organization_id and p.id = c.record_id)
            when 'key' then (select k.name from api_keys k where k.organization_id = c.organization_id and k.id = c.record_id)
            when 'contact' then (select n.name from contacts n where n.organization_id = c.organization_id and n.id = c.record_id)
            when 'schedule' then (select s.name from job_schedules s where s.organization_id = c.organization_id and s.id = c.record_id)
         end, (select t.name from tombstones t where t.organization_id = c.organization_id
                  and t.record_type = c.record_type and t.record_id = c.record_id)) as record_name,
         case when c.actor_kind = 'cycle' and {of_cycle} then '' else c.actor_id end as actor_id,
         case c.actor_kind
            when 'user' then coalesce(
                (select u.name from users u where u.organization_id = c.organization_id and u.id = c.actor_id::uuid),
                (select t.name from tombstones t where t.organization_id = c.organization_id and t.record_type = 'user'
                    and t.record_id = c.actor_id::uuid))
            when 'key' then (select k.name from api_keys k
                             where k.organization_id = c.organization_id and k.id = c.actor_id::uuid)
            when 'job' then (select j.kind from jobs j where j.organization_id = c.organization_id and j.id = c.actor_id::uuid)
            when 'schedule' then (select s.name from job_schedules s
                                  where s.organization_id = c.organization_id and s.id = c.actor_id::uuid)
            when 'cycle' then case when not {of_cycle} then coalesce(
                (select m.name from mailboxes m
                 where m.organization_id = c.organization_id and m.id::text = split_part(c.actor_id, '/', 1)),
                (select t.name from tombstones t where t.organization_id = c.organization_id
                    and t.record_type = 'mailbox' and t.record_id::text = split_part(c.actor_id, '/', 1))) end
         end as actor_name,
         case when c.record_type = 'email' and c.fields ? 'mailbox' and {of_email}
              then c.fields - 'mailbox' else c.fields end as fields"
    )
}

/// A condition on `changes c`: everything when the parameter is null, else what that user may see, and what they did to
/// records of theirs that are gone.
pub(super) fn visible(reader: &str) -> String {
    let (email, own) = (email::visible(reader), email::own_mailbox(reader));
    format!(
        "({reader}::uuid is null or case c.record_type
            when 'email' then exists (select from emails e where e.organization_id = c.organization_id
                and e.id = c.record_id and {email})
            when 'send_request' then exists (select from send_requests s
                join emails e on e.organization_id = s.organization_id and e.id = s.email_id
                where s.organization_id = c.organization_id and s.id = c.record_id and {email})
            when 'mailbox' then exists (select from mailboxes m where m.organization_id = c.organization_id
                and m.id = c.record_id and c.at >= m.mapped_at and {own})
            when 'queue' then exists (select from queue_members r where r.organization_id = c.organization_id
                and r.queue_id = c.record_id and r.user_id = {reader})
            when 'user' then c.record_id = {reader}
            when 'contact' then true
            else false end
          or (c.record_type in ('email', 'send_request', 'alert') and c.actor_kind = 'user'
              and c.actor_id = {reader}::text))"
    )
}

pub(super) fn read(row: &Row) -> Result<Entry> {
    let transaction: &str = row.try_get("transaction_id")?;
    Ok(Entry {
        sequence: row.try_get("sequence")?,
        transaction: transaction.parse().unwrap_or_default(),
        record_type: row.try_get("record_type")?,
        record_id: row.try_get("record_id")?,
        record_name: row.try_get("record_name")?,
        version: row.try_get("version")?,
        actor_kind: row.try_get("actor_kind")?,
        actor_id: row.try_get("actor_id")?,
        actor_name: row.try_get("actor_name")?,
        cause: row.try_get("cause")?,
        trace: row.try_get("trace")?,
        fields: row.try_get("fields")?,
        at: row.try_get("at")?,
    })
}

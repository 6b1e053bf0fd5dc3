//! Alerts: what went wrong, once per thing that is wrong. A repeated one counts up; one whose cause has passed is
//! resolved. Only kinds and parameters are stored, never finished text.

use std::time::Duration;

use jiff::Timestamp;
use model::alert::{AlertKind, Class, Level, Scope};
use model::id::{AlertId, EmailId, MailboxId, ProfileId, UserId};
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::change::{Author, Change, Fields};
use crate::refusal::Refusal;
use crate::row::named;
use crate::{Result, Tenant, change};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One email.
    Email(EmailId),
    /// One mailbox.
    Mailbox(MailboxId),
    /// One profile.
    Profile(ProfileId),
}

impl Subject {
    fn columns(self) -> (Option<Uuid>, Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Email(id) => (Some(id.0), None, None),
            Self::Mailbox(id) => (None, Some(id.0), None),
            Self::Profile(id) => (None, None, Some(id.0)),
        }
    }

    /// The one column that says which: a condition on it finds its index, one on all three finds none.
    fn column(self) -> &'static str {
        match self {
            Self::Email(_) => "email_id",
            Self::Mailbox(_) => "mailbox_id",
            Self::Profile(_) => "profile_id",
        }
    }

    fn scope(self) -> Scope {
        match self {
            Self::Email(_) => Scope::Email,
            Self::Mailbox(_) => Scope::Mailbox,
            Self::Profile(_) => Scope::Profile,
        }
    }

    fn id(self) -> Uuid {
        match self {
            Self::Email(EmailId(id)) | Self::Mailbox(MailboxId(id)) | Self::Profile(ProfileId(id)) => id,
        }
    }
}

/// An alert to raise.
#[derive(Clone, Debug)]
pub struct NewAlert {
    /// What went wrong.
    pub kind: AlertKind,
    /// With what.
    pub subject: Subject,
    /// What tells two alerts of one kind and subject apart, such as a workload or an endpoint; mostly empty.
    pub detail: String,
    /// Values for the kind's sentences; no subject, body or secret.
    pub parameters: Value,
    /// The server's own words, printable and bounded.
    pub server_said: Option<String>,
}

/// An alert as it stands.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Which.
    pub id: AlertId,
    /// What went wrong.
    pub kind: AlertKind,
    /// How loudly it speaks.
    pub level: Level,
    /// What it is about.
    pub scope: Scope,
    /// Whether it can pass by itself.
    pub class: Class,
    /// The email, for an alert about one.
    pub email: Option<EmailId>,
    /// The mailbox, for an alert about one.
    pub mailbox: Option<MailboxId>,
    /// The profile, for an alert about one.
    pub profile: Option<ProfileId>,
    /// Values for the kind's sentences.
    pub parameters: Value,
    /// The server's own words.
    pub server_said: Option<String>,
    /// How often it happened.
    pub count: i32,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
    /// When its cause had passed.
    pub resolved_at: Option<Timestamp>,
    /// When a person put it away.
    pub dismissed_at: Option<Timestamp>,
}

/// Whose alerts to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertReader {
    /// An administrator: all.
    Everything,
    /// A user: those of the own mailbox and emails, of the queues the user is a member of, and of their servers.
    User(UserId),
}

/// Which alerts to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFilter {
    /// Also those that were resolved or dismissed.
    pub closed_too: bool,
    /// About this mailbox.
    pub mailbox: Option<MailboxId>,
    /// About this email.
    pub email: Option<EmailId>,
    /// About this profile.
    pub profile: Option<ProfileId>,
    /// Of this kind.
    pub kind: Option<AlertKind>,
}

/// Raises an alert, or counts up the open one of the same kind, subject and detail. Says whether it is new.
pub async fn raise(tenant: &Tenant, new: &NewAlert) -> Result<(AlertId, bool)> {
    let facts = new.kind.facts();
    let id: AlertId = model::clock::new_id();
    let (email, mailbox, profile) = new.subject.columns();
    let row = tenant
        .query_one(
            "insert into alerts (organization_id, id, kind, level, scope, class, email_id, mailbox_id, profile_id,
                                 parameters, server_said, sameness)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (organization_id, sameness) where resolved_at is null and dismissed_at is null
             do update set count = alerts.count + 1, last_at = now(), parameters = excluded.parameters,
                           server_said = coalesce(excluded.server_said, alerts.server_said)
             returning id",
            &[
                &id.0,
                &new.kind.as_str(),
                &facts.level.as_str(),
                &new.subject.scope().as_str(),
                &facts.class.as_str(),
                &email,
                &mailbox,
                &profile,
                &new.parameters,
                &new.server_said,
                &sameness(new.kind, new.subject, &new.detail),
            ],
        )
        .await?;
    let stored = AlertId(row.try_get(0)?);
    Ok((stored, stored == id))
}

/// Closes the open alerts of these kinds about a subject: things work again. With a detail only those that were raised
/// with it. How many there were.
pub async fn resolve(
    tenant: &Tenant,
    kinds: &[AlertKind],
    subject: Subject,
    detail: Option<&str>,
) -> Result<u64> {
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    let same: Option<Vec<_>> =
        detail.map(|detail| kinds.iter().map(|kind| sameness(*kind, subject, detail)).collect());
    tenant
        .execute(
            &format!(
                "update alerts set resolved_at = now()
                 where kind = any($1) and {} = $2 and resolved_at is null and dismissed_at is null
                   and ($3::text[] is null or sameness = any($3))",
                subject.column()
            ),
            &[&names, &subject.id(), &same],
        )
        .await
}

/// What the open alerts of these kinds about a subject were raised with has another name now.
pub async fn renamed(
    tenant: &Tenant,
    kinds: &[AlertKind],
    subject: Subject,
    before: &str,
    after: &str,
) -> Result<()> {
    for kind in kinds {
        tenant
            .execute(
                "update alerts set sameness = $2 where sameness = $1 and resolved_at is null and dismissed_at is null",
                &[&sameness(*kind, subject, before), &sameness(*kind, subject, after)],
            )
            .await?;
    }
    Ok(())
}

/// Forgets alerts that were closed longer than `age` ago, of the transaction's organization, `limit` at most. Gives how many.
pub async fn forget(tenant: &Tenant, age: Duration, limit: u32) -> Result<u64> {
    tenant
        .execute(
            "with old as materialized (
                 select id from alerts
                 where organization_id = current_organization()
                   and coalesce(resolved_at, dismissed_at) < now() - make_interval(secs => $1)
                 limit $2 for update skip locked)
             delete from alerts a using old where a.organization_id = current_organization() and a.id = old.id",
            &[&age.as_secs_f64(), &i64::from(limit)],
        )
        .await
}

/// Whether an alert of this kind about the subject is open.
pub async fn is_open(tenant: &Tenant, kind: AlertKind, subject: Subject) -> Result<bool> {
    let row = tenant
        .query_one(
            &format!(
                "select exists (select from alerts
                 where kind = $1 and {} = $2 and resolved_at is null and dismissed_at is null)",
                subject.column()
            ),
            &[&kind.as_str(), &subject.id()],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Puts an alert away; doing it again changes nothing. A user can put away only what the user sees, and of that not what
/// is about a whole server: everybody on it would miss it.
pub async fn dismiss(tenant: &Tenant, id: AlertId, reader: AlertReader, by: &Author) -> Result<()> {
    let row = tenant
        .query_opt(
            &format!("select profile_id from alerts a where id = $1 and {}", visible("$2")),
            &[&id.0, &user(reader)],
        )
        .await?
        .ok_or(Refusal::Unknown { what: "alert", field: "id" })?;
    if matches!(reader, AlertReader::User(_)) && row.try_get::<_, Option<Uuid>>("profile_id")?.is_some() {
        return Err(Refusal::ForAdministrators { what: "an alert about a server" }.into());
    }
    let dismissed = tenant
        .query_opt(
            "update alerts set dismissed_at = now() where id = $1 and dismissed_at is null returning kind",
            &[&id.0],
        )
        .await?;
    let Some(row) = dismissed else { return Ok(()) };
    let fields = Fields::new().set("kind", row.try_get::<_, String>(0)?).changed("dismissed", &false, &true);
    change::write(tenant, Change { record_type: "alert", id: id.0, version: 1, by, fields }).await
}

/// One alert, when the reader sees it.
pub async fn get(tenant: &Tenant, id: AlertId, reader: AlertReader) -> Result<Option<Alert>> {
    let row = tenant
        .query_opt(&format!("{} where id = $1 and {}", select("$2"), visible("$2")), &[&id.0, &user(reader)])
        .await?;
    row.as_ref().map(read).transpose()
}

/// What a server said about a whole profile was said to somebody's mailbox, and is for administrators.
fn select(parameter: &str) -> String {
    format!(
        "select id, kind, level, scope, class, email_id, mailbox_id, profile_id, parameters,
                case when {parameter}::uuid is null or profile_id is null then server_said end as server_said, count,
                first_at, last_at, resolved_at, dismissed_at
         from alerts a"
    )
}

/// The alerts that a reader sees, the newest first, before the last of the page before.
pub async fn list(
    tenant: &Tenant,
    reader: AlertReader,
    filter: &AlertFilter,
    before: Option<AlertId>,
    limit: i64,
) -> Result<Vec<Alert>> {
    let rows = tenant
        .query(
            &format!(
                "{}
                 where ($1 or (resolved_at is null and dismissed_at is null))
                   and ($2::uuid is null or mailbox_id = $2) and ($3::uuid is null or email_id = $3)
                   and ($4::uuid is null or profile_id = $4) and ($5::text is null or kind = $5)
                   and ($6::uuid is null or id < $6) and {}
                 order by id desc limit $7",
                select("$8"),
                visible("$8")
            ),
            &[
                &filter.closed_too,
                &filter.mailbox.map(|id| id.0),
                &filter.email.map(|id| id.0),
                &filter.profile.map(|id| id.0),
                &filter.kind.map(AlertKind::as_str),
                &before.map(|id| id.0),
                &limit,
                &user(reader),
            ],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// A condition on `alerts a`: seen by everybody when the parameter is null, else by that user.
fn visible(parameter: &str) -> String {
    format!(
        "({parameter}::uuid is null or exists (
            select from mailboxes m
            where m.organization_id = a.organization_id
              and ((m.id = a.mailbox_id and a.last_at >= m.mapped_at) or m.profile_id = a.profile_id
                   or m.id = (select e.mailbox_id from emails e
                              where e.organization_id = a.organization_id and e.id = a.email_id
                                and e.created_at >= m.mapped_at))
              and (m.user_id = {parameter} or exists (
                   select from queue_members q where q.organization_id = m.organization_id
                      and q.queue_id = m.queue_id and q.user_id = {parameter})))
         or exists (select from emails e where e.organization_id = a.organization_id and e.id = a.email_id
                       and e.owner_kind = 'user' and e.owner_id = {parameter}))"
    )
}

fn user(reader: AlertReader) -> Option<Uuid> {
    match reader {
        AlertReader::Everything => None,
        AlertReader::User(id) => Some(id.0),
    }
}

fn sameness(kind: AlertKind, subject: Subject, detail: &str) -> String {
    format!("{kind} {} {detail}", subject.id())
}

fn read(row: &Row) -> Result<Alert> {
    Ok(Alert {
        id: AlertId(row.try_get("id")?),
        kind: named(row, "kind")?,
        level: named(row, "level")?,
        scope: named(row, "scope")?,
        class: named(row, "class")?,
        email: row.try_get::<_, Option<Uuid>>("email_id")?.map(EmailId),
        mailbox: row.try_get::<_, Option<Uuid>>("mailbox_id")?.map(MailboxId),
        profile: row.try_get::<_, Option<Uuid>>("profile_id")?.map(ProfileId),
        parameters: row.try_get("parameters")?,
        server_said: row.try_get("server_said")?,
        count: row.try_get("count")?,
        first_at: row.try_get("first_at")?,
        last_at: row.try_get("last_at")?,
        resolved_at: row.try_get("resolved_at")?,
        dismissed_at: row.try_get("dismissed_at")?,
    })
}

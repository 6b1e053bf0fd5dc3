//! The whole picture of one organization for people: what is late, what fails, what is held back and why, what waits to
//! be sent. Lists are cut off at a hundred; the counts beside them are whole.

use std::time::Duration;

use jiff::Timestamp;
use model::alert::{AlertKind, Level};
use model::id::{MailboxId, ProfileId};
use model::workload::Workload;
use tokio_postgres::Row;

use crate::connection::seconds;
use crate::row::{named, named_if};
use crate::{Result, Tenant};

/// Entries of a list at most.
const MOST: i64 = 100;

/// One workload over all mailboxes of the organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadCounts {
    /// Which.
    pub workload: Workload,
    /// Mailboxes where it is on.
    pub enabled: i64,
    /// Idle, of those that are on.
    pub idle: i64,
    /// Waiting for a worker.
    pub queued: i64,
    /// At work.
    pub running: i64,
    /// Due and not queued yet, those that are held back left out.
    pub late: i64,
    /// How long ago the oldest of these became due.
    pub oldest: Duration,
}

/// A workload of a mailbox that needs a look.
#[derive(Clone)]
pub struct Troubled {
    /// Of which mailbox.
    pub mailbox: MailboxId,
    /// Its name.
    pub name: String,
    /// Which workload.
    pub workload: Workload,
    /// Failures in a row.
    pub failures: i32,
    /// How the last cycle ended.
    pub last_outcome: Option<String>,
    /// The alert by which Lockstep switched it off.
    pub disabled_by: Option<AlertKind>,
    /// Until when it is held back.
    pub until: Option<Timestamp>,
    /// Why it is held back.
    pub because: Option<String>,
}

/// A server that pauses all mailboxes of a profile.
#[derive(Clone)]
pub struct HeldProfile {
    /// Which profile.
    pub profile: ProfileId,
    /// Its name.
    pub name: String,
    /// The endpoint, for one whose server is down; none for a paused profile.
    pub endpoint: Option<String>,
    /// Why it is paused; none for a server that is down.
    pub paused_reason: Option<String>,
    /// Until when nothing is tried there; none: until somebody does something.
    pub until: Option<Timestamp>,
    /// How many mailboxes use it.
    pub mailboxes: i64,
}

/// Entries, and how many there are in all.
#[derive(Clone)]
pub struct Counted<T> {
    /// The first hundred.
    pub first: Vec<T>,
    /// How many there are.
    pub total: i64,
}

/// What waits to be sent from the organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sends {
    /// Emails that wait for their turn, those not to leave before a later time included.
    pub pending: i64,
    /// Since when the oldest of those that may leave waits.
    pub oldest: Option<Timestamp>,
    /// Emails of which nobody knows whether they were sent.
    pub unknown: i64,
}

/// One line per workload, each time all of them.
pub async fn workloads(tenant: &Tenant) -> Result<Vec<WorkloadCounts>> {
    let rows = tenant
        .query(
            "select k.workload, count(s.*) as enabled,
                    count(s.*) filter (where s.state = 'idle') as idle,
                    count(s.*) filter (where s.state = 'queued') as queued,
                    count(s.*) filter (where s.state = 'running') as running,
                    count(s.*) filter (where s.late) as late,
                    coalesce(max(extract(epoch from now() - s.ready_at)) filter (where s.late), 0)::float8 as oldest
             from unnest($1::text[]) with ordinality as k(workload, place)
             left join (
                select s.workload, s.state, s.ready_at,
                       s.state = 'idle' and s.ready_at <= now() and p.paused_reason is null and not exists (
                           select from endpoints e
                           where e.organization_id = s.organization_id and e.profile_id = s.profile_id
                             and e.open_until > now() and s.workload <> 'act'
                             and (e.protocol = case s.workload when 'incoming' then 'pop3' when 'outgoing' then 'smtp' end
                                  or e.protocol = 'ews')) as late
                from schedules s
                join mailbox_workloads w on w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                                        and w.workload = s.workload and w.enabled
                join profiles p on p.organization_id = s.organization_id and p.id = s.profile_id
             ) s on s.workload = k.workload
             group by k.workload, k.place order by k.place",
            &[&Workload::ALL.iter().map(|workload| workload.as_str()).collect::<Vec<_>>()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(WorkloadCounts {
                workload: named(row, "workload")?,
                enabled: row.try_get("enabled")?,
                idle: row.try_get("idle")?,
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
                late: row.try_get("late")?,
                oldest: seconds(row.try_get("oldest")?),
            })
        })
        .collect()
}

/// Workloads that are on and fail, those with the most failures first.
pub async fn failing(tenant: &Tenant) -> Result<Counted<Troubled>> {
    troubled(tenant, "w.enabled and (s.failures > 0 or s.refusals > 0)", "s.failures desc, m.name").await
}

/// Workloads that Lockstep switched off.
pub async fn disabled(tenant: &Tenant) -> Result<Counted<Troubled>> {
    troubled(tenant, "w.disabled_by is not null", "m.name").await
}

/// Workloads that are on and wait out a back-off of their own.
pub async fn held_back(tenant: &Tenant) -> Result<Counted<Troubled>> {
    troubled(tenant, "w.enabled and s.state = 'idle' and s.not_before > now()", "s.not_before desc").await
}

async fn troubled(tenant: &Tenant, condition: &str, order: &str) -> Result<Counted<Troubled>> {
    let rows = tenant
        .query(
            &format!(
                "select m.id, m.name, s.workload, s.failures, s.last_outcome, w.disabled_by,
                        case when s.not_before > now() then s.not_before end as until,
                        case when s.not_before > now() then s.not_before_reason end as because,
                        count(*) over () as total
                 from schedules s
                 join mailbox_workloads w on w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                                         and w.workload = s.workload
                 join mailboxes m on m.organization_id = s.organization_id and m.id = s.mailbox_id
                 where {condition} order by {order}, m.id, s.workload limit $1"
            ),
            &[&MOST],
        )
        .await?;
    counted(&rows, |row| {
        Ok(Troubled {
            mailbox: MailboxId(row.try_get("id")?),
            name: row.try_get("name")?,
            workload: named(row, "workload")?,
            failures: row.try_get("failures")?,
            last_outcome: row.try_get("last_outcome")?,
            disabled_by: named_if(row, "disabled_by")?,
            until: row.try_get("until")?,
            because: row.try_get("because")?,
        })
    })
}

/// Profiles that are paused or whose server is down: what holds all of their mailboxes back.
pub async fn held_profiles(tenant: &Tenant) -> Result<Counted<HeldProfile>> {
    let rows = tenant
        .query(
            "select p.id, p.name, h.endpoint, h.paused_reason, h.open_until, count(*) over () as total,
                    (select count(*) from mailboxes m
                     where m.organization_id = p.organization_id and m.profile_id = p.id) as mailboxes
             from profiles p
             cross join lateral (
                select null::text as endpoint, p.paused_reason, null::timestamptz as open_until
                where p.paused_reason is not null
                union all
                select e.endpoint, null, e.open_until from endpoints e
                where e.organization_id = p.organization_id and e.profile_id = p.id and e.open_until > now()
             ) h
             order by p.name, p.id, h.endpoint limit $1",
            &[&MOST],
        )
        .await?;
    counted(&rows, |row| {
        Ok(HeldProfile {
            profile: ProfileId(row.try_get("id")?),
            name: row.try_get("name")?,
            endpoint: row.try_get("endpoint")?,
            paused_reason: row.try_get("paused_reason")?,
            until: row.try_get("open_until")?,
            mailboxes: row.try_get("mailboxes")?,
        })
    })
}

fn counted<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T>) -> Result<Counted<T>> {
    let total = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
    Ok(Counted { first: rows.iter().map(read).collect::<Result<_>>()?, total })
}

/// What waits to be sent.
pub async fn sends(tenant: &Tenant) -> Result<Sends> {
    let row = tenant
        .query_one(
            "select count(*) filter (where e.state = 'pending_send') as pending,
                    min(greatest(r.requested_at, r.not_before))
                        filter (where e.state = 'pending_send' and coalesce(r.not_before <= now(), true)) as oldest,
                    count(*) filter (where e.state = 'unknown') as unknown
             from emails e
             join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                                 and r.ended_at is null
             where e.state in ('pending_send', 'unknown')",
            &[],
        )
        .await?;
    Ok(Sends {
        pending: row.try_get("pending")?,
        oldest: row.try_get("oldest")?,
        unknown: row.try_get("unknown")?,
    })
}

/// Open alerts by level, each time all levels.
pub async fn alerts(tenant: &Tenant) -> Result<Vec<(Level, i64)>> {
    let rows = tenant
        .query(
            "select l.level, count(a.id) as alerts
             from unnest($1::text[]) with ordinality as l(level, place)
             left join alerts a on a.level = l.level and a.resolved_at is null and a.dismissed_at is null
             group by l.level, l.place order by l.place",
            &[&Level::ALL.iter().map(|level| level.as_str()).collect::<Vec<_>>()],
        )
        .await?;
    rows.iter().map(|row| Ok((named(row, "level")?, row.try_get("alerts")?))).collect()
}

/// Worker and job processes that are alive. Which, and on what machines, is the operator's to see.
pub async fn live_sessions(tenant: &Tenant) -> Result<i64> {
    let row = tenant
        .query_one(
            "select count(id) from sessions where ended_at is null and seen_at + dead_after > now()",
            &[],
        )
        .await?;
    Ok(row.try_get(0)?)
}

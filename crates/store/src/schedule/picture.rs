//! The ring in numbers, for `status` and metrics: per workload and profile, never per mailbox.

use std::time::Duration;

use model::id::{OrganizationId, ProfileId};
use model::workload::Workload;

use crate::connection::seconds;
use crate::row::named;
use crate::{Result, Ring};

/// What waits and how late it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// Of which workload.
    pub workload: Workload,
    /// Cycles that are due and not queued, paused profiles left out; counted up to 10,000.
    pub ready: i64,
    /// How long ago the oldest of them became due; zero when none is.
    pub oldest: Duration,
    /// Cycles that are queued.
    pub queued: i64,
    /// Cycles that run.
    pub running: i64,
}

/// A backlog is counted so far, or counting it would add to it.
const COUNTED: i64 = 10_000;

/// One line per workload, each time all of them.
pub async fn lateness(ring: &Ring) -> Result<Vec<Lateness>> {
    let rows = ring
        .query(
            // The oldest first, as their index has them: joined to their profiles, all that is due would be read and sorted.
            "with paused as materialized (
                select organization_id, id from profiles where paused_reason is not null
             )
             select w.workload, coalesce(r.ready, 0)::bigint as ready, coalesce(r.oldest, 0)::float8 as oldest,
                    coalesce(t.queued, 0)::bigint as queued, coalesce(t.running, 0)::bigint as running
             from unnest($1::text[]) with ordinality as w(workload, place)
             left join lateral (
                select count(*) as ready, extract(epoch from now() - min(d.ready_at)) as oldest
                from (
                    select s.ready_at from schedules s
                    where s.workload = w.workload and not s.flying and s.ready_at <= now()
                      and (s.organization_id, s.profile_id) not in (select organization_id, id from paused)
                    order by s.ready_at limit $2
                ) d
             ) r on true
             left join (
                select s.workload, count(*) filter (where s.state = 'queued') as queued,
                       count(*) filter (where s.state = 'running') as running
                from schedules s where s.flying group by s.workload
             ) t on t.workload = w.workload
             order by w.place",
            &[&Workload::ALL.iter().map(|workload| workload.as_str()).collect::<Vec<_>>(), &COUNTED],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Lateness {
                workload: named(row, "workload")?,
                ready: row.try_get("ready")?,
                oldest: seconds(row.try_get("oldest")?),
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
            })
        })
        .collect()
}

/// What a profile has in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Whose.
    pub organization: OrganizationId,
    /// On which server.
    pub profile: ProfileId,
    /// Of which workload.
    pub workload: Workload,
    /// Cycles that are queued.
    pub queued: i64,
    /// Cycles that run.
    pub running: i64,
}

/// One line per profile and workload that has something in flight.
pub async fn in_flight(ring: &Ring) -> Result<Vec<InFlight>> {
    let rows = ring
        .query(
            "select organization_id, profile_id, workload, count(*) filter (where state = 'queued') as queued,
                    count(*) filter (where state = 'running') as running
             from schedules where flying
             group by organization_id, profile_id, workload order by organization_id, profile_id, workload",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(InFlight {
                organization: OrganizationId(row.try_get("organization_id")?),
                profile: ProfileId(row.try_get("profile_id")?),
                workload: named(row, "workload")?,
                queued: row.try_get("queued")?,
                running: row.try_get("running")?,
            })
        })
        .collect()
}

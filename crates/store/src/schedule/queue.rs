//! The scheduler's half of the ring: what is due becomes queued, within each profile's window, and what could not be
//! published becomes due again.

use std::time::Duration;

use model::id::{MailboxId, OrganizationId, ProfileId};
use model::workload::Workload;

use super::{Claim, Place};
use crate::connection::seconds;
use crate::{Result, Ring, health};

/// What one scan may take.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Of which workload; each is its own class of service.
    pub workload: Workload,
    /// Cycles at most.
    pub batch: u32,
    /// Slots at most that one profile and class may have (`model::window::share_cap`).
    pub share_cap: u32,
    /// How long ago the last scan was: what a profile finished since then widens its window.
    pub since_last: Duration,
}

/// A cycle that was queued: publish it once the transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The claim, and whose it is.
    pub place: Place,
    /// How long ago it became due.
    pub waited: Duration,
}

/// One scan of a workload at a time over the whole installation: a second one would count what is in flight before
/// the first one's claims can be seen, and the windows would be exceeded. A scan takes milliseconds; a scheduler
/// that stops in the middle of one loses its transaction soon.
async fn take_turn(ring: &Ring, workload: Workload) -> Result<()> {
    let turn = match workload {
        Workload::Incoming => 1,
        Workload::Outgoing => 2,
        Workload::Act => 3,
    };
    ring.execute(
        "select pg_advisory_xact_lock(1279414347, $1),
                set_config('idle_in_transaction_session_timeout', '5s', true)",
        &[&turn],
    )
    .await?;
    Ok(())
}

/// Queues what is due, under a new claim each: organizations in turn, then profiles, then wished first, then oldest
/// due; never more of a profile than its window (`model::window::room`, whose formula stands here in SQL). A paused
/// profile gets nothing; one whose endpoint is down gets nothing, then one probe, then a window that doubles with
/// each cycle that works. The caller commits before it publishes.
pub async fn claim_due(ring: &Ring, scan: &Scan) -> Result<Vec<Queued>> {
    take_turn(ring, scan.workload).await?;
    let rows = ring
        .query(
            "with servers as (
                select p.organization_id, p.id as profile_id, e.failures, e.open_until,
                       case p.credentials_on when 'profile' then p.max_connections else p.max_in_flight end::bigint
                           as connections
                from profiles p
                cross join lateral (
                    select coalesce(max(failures), 0) as failures, max(open_until) as open_until from endpoints e
                    where e.organization_id = p.organization_id and e.profile_id = p.id and e.protocol = any($5)
                ) e
                where p.paused_reason is null and (e.open_until is null or e.open_until <= now())
                  and exists (select from schedules s
                              where s.profile_id = p.id and s.organization_id = p.organization_id
                                and s.workload = $1 and s.state = 'idle' and s.ready_at <= now())
            ), rooms as materialized (
                select organization_id, profile_id,
                       case when open_until is not null then 1
                            else greatest(least(connections * 2 + finished, $3::bigint) >> least(failures, 32), 1)
                       end - in_flight as room
                from servers v
                cross join lateral (
                    select count(*) as in_flight from schedules s
                    where s.profile_id = v.profile_id and s.organization_id = v.organization_id
                      and s.workload = $1 and s.state <> 'idle'
                ) f
                cross join lateral (
                    select count(*) as finished from schedules s
                    where s.profile_id = v.profile_id and s.organization_id = v.organization_id
                      and s.workload = $1 and s.last_finished_at > now() - make_interval(secs => $4)
                ) d
            ), candidates as (
                select r.organization_id, r.profile_id, c.place, c.ready_at, c.rank
                from rooms r
                cross join lateral (
                    select * from (
                        (select s.ctid as place, s.ready_at, 0 as rank from schedules s
                         where s.profile_id = r.profile_id and s.organization_id = r.organization_id
                           and s.workload = $1 and s.state = 'idle' and s.ready_at <= now()
                           and s.wished_at is not null
                         order by s.ready_at limit least(r.room, $2::bigint))
                        union all
                        (select s.ctid, s.ready_at, 1 from schedules s
                         where s.profile_id = r.profile_id and s.organization_id = r.organization_id
                           and s.workload = $1 and s.state = 'idle' and s.ready_at <= now()
                           and s.wished_at is null
                         order by s.ready_at limit least(r.room, $2::bigint))
                    ) both_kinds order by rank, ready_at limit least(r.room, $2::bigint)
                ) c
                where r.room > 0
            ), by_profile as (
                select organization_id, profile_id, place, ready_at,
                       row_number() over (partition by organization_id, profile_id order by rank, ready_at) as turn
                from candidates
            ), by_organization as (
                select place, ready_at,
                       row_number() over (partition by organization_id order by turn, ready_at) as turn
                from by_profile
            ), chosen as (
                select s.ctid as place, s.ready_at from schedules s
                where s.ctid = any (array(select place from by_organization order by turn, ready_at limit $2::bigint))
                  and s.state = 'idle' and s.ready_at <= now()
                for update skip locked
            )
            update schedules s
            set state = 'queued', claim = s.claim + 1, since = now(), wished_at = null, due_at = c.ready_at
            from chosen c where s.ctid = c.place
            returning s.organization_id, s.mailbox_id, s.profile_id, s.claim,
                      extract(epoch from now() - c.ready_at)::float8 as waited",
            &[
                &scan.workload.as_str(),
                &i64::from(scan.batch),
                &i64::from(scan.share_cap),
                &scan.since_last.as_secs_f64(),
                &health::protocols(scan.workload),
            ],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let claim = Claim {
                mailbox: MailboxId(row.try_get("mailbox_id")?),
                workload: scan.workload,
                number: row.try_get("claim")?,
            };
            let place = Place {
                organization: OrganizationId(row.try_get("organization_id")?),
                profile: ProfileId(row.try_get("profile_id")?),
                claim,
            };
            Ok(Queued { place, waited: seconds(row.try_get("waited")?) })
        })
        .collect()
}

/// Takes back what was queued and whose message was nacked, returned or never confirmed: due now, unless somebody
/// got the message after all or the row moved on.
pub async fn unpublish(ring: &Ring, places: &[Place]) -> Result<u64> {
    let organizations: Vec<_> = places.iter().map(|place| place.organization.0).collect();
    let mailboxes: Vec<_> = places.iter().map(|place| place.claim.mailbox.0).collect();
    let workloads: Vec<_> = places.iter().map(|place| place.claim.workload.as_str()).collect();
    let numbers: Vec<_> = places.iter().map(|place| place.claim.number).collect();
    ring.execute(
        "update schedules s set state = 'idle', since = now(), due_at = now(), due_reason = 'not_delivered'
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) as u(organization, mailbox, workload, number)
         where s.organization_id = u.organization and s.mailbox_id = u.mailbox and s.workload = u.workload
           and s.claim = u.number and s.state = 'queued'",
        &[&organizations, &mailboxes, &workloads, &numbers],
    )
    .await
}

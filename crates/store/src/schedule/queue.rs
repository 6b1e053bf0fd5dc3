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
                set_config('idle_in_transaction_session_timeout', '5s', true),
                -- The rows of a profile stand in its index in the order they are taken in; a bitmap would sort them.
                set_config('enable_bitmapscan', 'off', true),
                -- What is in flight is counted at each scan, and sorted for it.
                set_config('work_mem', '64MB', true)",
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
    // After an outage everything is due: ordering all of it to take one batch would cost more than the batch. A few
    // of each profile fill it; when they do not, the profiles that have more are few.
    let mut queued = pick(ring, scan, scan.batch, A_FEW).await?;
    let left = scan.batch.saturating_sub(u32::try_from(queued.len()).unwrap_or(u32::MAX));
    if left > 0 && !queued.is_empty() {
        queued.extend(pick(ring, scan, left, left).await?);
    }
    Ok(queued)
}

/// How many of one profile are looked at first; of few profiles twice as many as would fill the batch if each had them.
const A_FEW: u32 = 4;

async fn pick(ring: &Ring, scan: &Scan, batch: u32, of_each: u32) -> Result<Vec<Queued>> {
    let rows = ring
        .query(
            "with flying as (
                select s.organization_id, s.profile_id, count(*) as number from schedules s
                where s.workload = $1 and s.state <> 'idle' group by s.organization_id, s.profile_id
            ), finished as (
                select s.organization_id, s.profile_id, count(*) as number from schedules s
                where s.workload = $1 and s.last_finished_at > now() - make_interval(secs => $4)
                group by s.organization_id, s.profile_id
            ), broken as (
                select e.organization_id, e.profile_id, max(e.failures) as failures, max(e.open_until) as open_until
                from endpoints e where e.protocol = any($5) and e.failures > 0
                group by e.organization_id, e.profile_id
            ), rooms as materialized (
                select p.organization_id, p.id as profile_id,
                       case when b.open_until is not null then 1
                            else greatest(1, least($3::bigint, coalesce(f.number, 0)
                                + 2 * case p.credentials_on when 'profile' then p.max_connections
                                                            else p.max_in_flight end::bigint)
                                >> least(coalesce(b.failures, 0), 32))
                       end - coalesce(i.number, 0) as room
                from profiles p
                left join broken b on b.organization_id = p.organization_id and b.profile_id = p.id
                left join finished f on f.organization_id = p.organization_id and f.profile_id = p.id
                left join flying i on i.organization_id = p.organization_id and i.profile_id = p.id
                where p.paused_reason is null and (b.open_until is null or b.open_until <= now())
            ), wished as (
                select s.organization_id, s.profile_id, s.ctid as place, s.ready_at,
                       row_number() over (partition by s.organization_id, s.profile_id order by s.ready_at) as turn
                from schedules s
                where s.workload = $1 and s.state = 'idle' and s.wished_at is not null and s.ready_at <= now()
            ), candidates as (
                select r.organization_id, r.profile_id, r.room, w.place, w.ready_at, 0 as rank
                from rooms r
                join wished w on w.organization_id = r.organization_id and w.profile_id = r.profile_id
                where w.turn <= r.room
                union all
                select r.organization_id, r.profile_id, r.room, d.place, d.ready_at, 1
                from rooms r
                cross join lateral (
                    select s.organization_id, s.ctid as place, s.ready_at from schedules s
                    where s.profile_id = r.profile_id
                      and s.workload = $1 and s.state = 'idle' and s.ready_at <= now() and s.wished_at is null
                    order by s.ready_at
                    limit least(r.room, greatest($6::bigint, 2 * $2::bigint / (select greatest(1, count(*))
                                                                               from rooms where room > 0)))
                ) d
                where r.room > 0 and d.organization_id = r.organization_id
            ), by_profile as (
                select organization_id, room, place, ready_at,
                       row_number() over (partition by organization_id, profile_id order by rank, ready_at) as turn
                from candidates
            ), by_organization as (
                select place, ready_at,
                       row_number() over (partition by organization_id order by turn, ready_at) as turn
                from by_profile where turn <= room
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
                &i64::from(batch),
                &i64::from(scan.share_cap),
                &scan.since_last.as_secs_f64(),
                &health::protocols(scan.workload),
                &i64::from(of_each),
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

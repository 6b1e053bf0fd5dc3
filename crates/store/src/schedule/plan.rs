//! What a scan will queue, and in which order: counted once, then queued batch by batch. A plan is worth something only until
//! another one is made for its workload, which [`super::queue_planned`] looks at; nothing here changes a schedule.

use std::collections::VecDeque;

use model::clock;
use model::workload::Workload;
use uuid::Uuid;

use super::Scan;
use crate::{Result, Ring, health};

/// For how long others leave the turn to a plan whose next batch does not come, in seconds.
pub(super) const POLITE_SECONDS: f64 = 2.0;

/// Whether a plan waits for the one that is being queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No plan is made while another one is being queued.
    Asked,
    /// The plan is made whatever else is under way, and ends what is.
    Taken,
}

/// What may be queued, in the order it is due to anybody.
#[derive(Debug)]
pub struct Plan {
    pub(super) workload: Workload,
    pub(super) number: Uuid,
    waiting: VecDeque<(String, Uuid)>,
    /// Whether the windows and not the plan's length ended it: nothing else fits now.
    pub complete: bool,
}

impl Plan {
    /// Of which workload.
    pub fn workload(&self) -> Workload {
        self.workload
    }

    /// Whether all of it was queued.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn next(&mut self, batch: u32) -> (Vec<String>, Vec<Uuid>) {
        let batch = usize::try_from(batch).unwrap_or(usize::MAX).min(self.waiting.len());
        self.waiting.drain(..batch).unzip()
    }
}

/// Finds up to `most` cycles that may be queued: next is always an organization that has the least in flight, of that first what
/// is wished for, then its profiles in turn, then what is oldest due; never more of all together than `scan.in_flight` and twice
/// what ended since the last scan, and never more of a profile than its window (`model::window::room`, whose formula stands
/// here in SQL). A paused profile gets
/// nothing; one whose endpoint is down gets nothing, then one probe, then a window that grows by one with each cycle
/// that works. None when somebody else has the turn. The first batch is queued in the same transaction, so that schedulers who
/// disturb each other get on nevertheless.
pub async fn plan(ring: &Ring, scan: &Scan, most: u32, turn: Turn) -> Result<Option<Plan>> {
    let number: Uuid = clock::new_id();
    // One plan of a workload at a time over the whole installation: a second one would count what is in flight before the
    // first one's batch can be seen, and the windows would be exceeded. A scheduler that stops in the middle of a
    // transaction loses it soon.
    let taken = ring
        .query_opt(
            "update turns set plan = $2, until = now() + make_interval(secs => $3)
             where workload = $1 and ($4 or until <= now())
             returning set_config('idle_in_transaction_session_timeout', '5s', true),
                -- The rows of a profile stand in its index in the order they are taken in; a bitmap would sort them. And a
                -- bitmap never marks entries of rows that left, which would be read again with each plan until a vacuum.
                set_config('enable_bitmapscan', 'off', true),
                -- What was found is sorted.
                set_config('work_mem', '64MB', true)",
            &[&scan.workload.as_str(), &number, &POLITE_SECONDS, &(turn == Turn::Taken)],
        )
        .await?;
    if taken.is_none() {
        return Ok(None);
    }
    let counts = Counts::of(ring, scan).await?;
    // After an outage everything is due: an equal part of each profile is looked at first, and more of those that have
    // more while that is not enough.
    let mut found = pick(ring, scan, &counts, most, None).await?;
    while let Some(of_each) = found.next_share() {
        found = pick(ring, scan, &counts, most, Some(of_each)).await?;
    }
    let (found_most, length) = (found.waiting.len() >= as_length(found.left), i64::from(most));
    let complete = if found_most { found.left < length } else { found.full == 0 };
    Ok(Some(Plan { workload: scan.workload, number, waiting: found.waiting, complete }))
}

/// What each profile has in flight, and what it finished since the last scan; at one place what is of one profile.
#[derive(Default)]
struct Counts {
    organizations: Vec<Uuid>,
    profiles: Vec<Uuid>,
    flying: Vec<i64>,
    finished: Vec<i64>,
}

impl Counts {
    async fn of(ring: &Ring, scan: &Scan) -> Result<Self> {
        let rows = ring
            .query(
                // What lies idle and what is in flight, each by its index.
                "select c.organization_id, c.profile_id, sum(c.flying)::bigint as flying, sum(c.finished)::bigint as finished
                 from (
                    select s.organization_id, s.profile_id, count(*) as flying,
                           count(*) filter (where s.last_finished_at > now() - make_interval(secs => $2)) as finished
                    from schedules s where s.workload = $1 and s.flying group by s.organization_id, s.profile_id
                    union all
                    select s.organization_id, s.profile_id, 0, count(*) from schedules s
                    where s.workload = $1 and not s.flying and s.last_finished_at > now() - make_interval(secs => $2)
                    group by s.organization_id, s.profile_id
                 ) c group by c.organization_id, c.profile_id",
                &[&scan.workload.as_str(), &scan.since_last.as_secs_f64()],
            )
            .await?;
        let mut counts = Self::default();
        for row in rows {
            counts.organizations.push(row.try_get("organization_id")?);
            counts.profiles.push(row.try_get("profile_id")?);
            counts.flying.push(row.try_get("flying")?);
            counts.finished.push(row.try_get("finished")?);
        }
        Ok(counts)
    }
}

struct Found {
    waiting: VecDeque<(String, Uuid)>,
    /// Profiles that may have more than was looked at.
    full: usize,
    of_each: i64,
    /// How many might have been found: what may be in flight, less what is, or the plan's length.
    left: i64,
}

impl Found {
    /// How many of each profile are to be looked at for a plan worth its counting; none when this is one.
    fn next_share(&self) -> Option<i64> {
        let enough = as_length(self.left / 2).max(1);
        let full = i64::try_from(self.full).ok().filter(|full| *full > 0)?;
        let more = (self.left / full).max(self.of_each.saturating_mul(2));
        (self.waiting.len() < enough).then_some(more)
    }
}

fn as_length(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

async fn pick(ring: &Ring, scan: &Scan, counts: &Counts, most: u32, of_each: Option<i64>) -> Result<Found> {
    let rows = ring
        .query(
            "with due as materialized (
                -- Where little is due, this is all of it, and only its profiles are counted.
                select s.organization_id, s.profile_id, s.mailbox_id, s.ctid as place, s.ready_at,
                       (s.wished_at is null)::int as rank
                from schedules s where s.workload = $1 and not s.flying and s.ready_at <= now()
                order by s.ready_at limit $6::bigint + 1
            ), asked as materialized (
                select d.organization_id, d.profile_id from due d
                where (select count(*) from due) <= $6::bigint group by d.organization_id, d.profile_id
                union all
                select p.organization_id, p.id from profiles p where (select count(*) from due) > $6::bigint
            ), counts as materialized (
                select * from unnest($4::uuid[], $9::uuid[], $10::bigint[], $11::bigint[])
                    as c(organization_id, profile_id, flying, finished)
            ), organizations as materialized (
                select c.organization_id, sum(c.flying)::bigint as number from counts c group by c.organization_id
            ), room_left as materialized (
                select least($2::bigint, greatest(0, $8::bigint
                    + (select coalesce(sum(2 * c.finished - c.flying), 0)::bigint from counts c))) as number
            ), broken as materialized (
                select e.organization_id, e.profile_id, min(e.worked) as worked, max(e.open_until) as open_until
                from endpoints e where e.protocol = any($5) and e.failures > 0
                group by e.organization_id, e.profile_id
            ), rooms as materialized (
                select p.organization_id, p.id as profile_id,
                       case when b.open_until is not null then 1
                            else greatest(1, least($3::bigint, coalesce(c.finished, 0)
                                + 2 * case p.credentials_on when 'profile' then p.max_connections
                                                            else p.max_in_flight end::bigint,
                                b.worked + 1::bigint))
                       end - coalesce(c.flying, 0) as room
                from asked a
                join profiles p on p.organization_id = a.organization_id and p.id = a.profile_id
                left join broken b on b.organization_id = p.organization_id and b.profile_id = p.id
                left join counts c on c.organization_id = p.organization_id and c.profile_id = p.id
                where p.paused_reason is null and (b.open_until is null or b.open_until <= now())
            ), share as materialized (
                select coalesce($7::bigint, ((select number from room_left) + count(*) - 1) / greatest(1, count(*))) as of_each
                from rooms where room > 0
            ), candidates as (
                select d.organization_id, d.profile_id, r.room, d.mailbox_id, d.place, d.ready_at, d.rank
                from due d join rooms r on r.organization_id = d.organization_id and r.profile_id = d.profile_id
                where r.room > 0 and (select count(*) from due) <= $6::bigint
                union all
                select r.organization_id, r.profile_id, r.room, w.mailbox_id, w.place, w.ready_at, 0
                from rooms r
                join (
                    select s.organization_id, s.profile_id, s.mailbox_id, s.ctid as place, s.ready_at,
                           row_number() over (partition by s.organization_id, s.profile_id order by s.ready_at) as turn
                    from schedules s
                    where s.workload = $1 and not s.flying and s.wished_at is not null and s.ready_at <= now()
                ) w on w.organization_id = r.organization_id and w.profile_id = r.profile_id
                where w.turn <= r.room and (select count(*) from due) > $6::bigint
                union all
                select r.organization_id, r.profile_id, r.room, d.mailbox_id, d.place, d.ready_at, 1
                from rooms r
                cross join lateral (
                    select s.organization_id, s.mailbox_id, s.ctid as place, s.ready_at from schedules s
                    where s.profile_id = r.profile_id
                      and s.workload = $1 and not s.flying and s.ready_at <= now() and s.wished_at is null
                    order by s.ready_at limit least(r.room, (select of_each from share))
                ) d
                where r.room > 0 and d.organization_id = r.organization_id
                  and (select count(*) from due) > $6::bigint
            ), by_profile as (
                select organization_id, room, mailbox_id, place, ready_at, rank,
                       row_number() over profile as turn,
                       count(*) filter (where rank = 1) over (partition by organization_id, profile_id) as of_profile
                from candidates window profile as (partition by organization_id, profile_id order by rank, ready_at)
            ), by_organization as (
                select *, row_number() over (partition by organization_id order by rank, turn, ready_at) as place_in_turn
                from by_profile where turn <= room
            )
            select place::text as place, mailbox_id, s.of_each, l.number as room_left,
                   turn = 1 and of_profile >= s.of_each and of_profile < room
                       and (select count(*) from due) > $6::bigint as full
            from by_organization b
            left join organizations o on o.organization_id = b.organization_id
            cross join share s cross join room_left l
            order by b.place_in_turn + coalesce(o.number, 0), b.rank, b.ready_at
            limit (select number from room_left)",
            &[
                &scan.workload.as_str(),
                &i64::from(most),
                &i64::from(scan.share_cap),
                &counts.organizations,
                &health::protocols(scan.workload),
                &LITTLE,
                &of_each,
                &i64::from(scan.in_flight),
                &counts.profiles,
                &counts.flying,
                &counts.finished,
            ],
        )
        .await?;
    let mut found =
        Found { waiting: VecDeque::with_capacity(rows.len()), full: 0, of_each: 1, left: i64::from(most) };
    for row in rows {
        found.waiting.push_back((row.try_get("place")?, row.try_get("mailbox_id")?));
        found.full += usize::from(row.try_get::<_, bool>("full")?);
        found.of_each = row.try_get("of_each")?;
        found.left = row.try_get("room_left")?;
    }
    Ok(found)
}

/// How much due is little: it is ordered as it is. More than this, and an equal part of each profile is looked at.
const LITTLE: i64 = 10_000;

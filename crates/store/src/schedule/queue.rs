//! The scheduler's half of the ring: what is due becomes queued, within each profile's window, and what could not be
//! published becomes due again.

use std::time::Duration;

use model::id::{MailboxId, OrganizationId, ProfileId};
use model::workload::Workload;

use super::plan::{Plan, Turn, plan};
use super::{Claim, Place};
use crate::connection::seconds;
use crate::{Result, Ring};

/// What one scan may take.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Of which workload; each is its own class of service.
    pub workload: Workload,
    /// Cycles at most.
    pub batch: u32,
    /// Slots at most that one profile and class may have (`model::window::share_cap`).
    pub share_cap: u32,
    /// Cycles of the workload that may be queued or running at once while none ends (`model::window::in_flight`).
    pub in_flight: u32,
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

/// Which workloads have something that may be due: asked before anything is counted, so that a ring where nothing is due costs
/// next to nothing.
pub async fn any_due(ring: &Ring) -> Result<Vec<Workload>> {
    let names: Vec<_> = Workload::ALL.iter().map(|workload| workload.as_str()).collect();
    let rows = ring
        .query(
            "select w.place from unnest($1::text[]) with ordinality as w(workload, place)
             cross join lateral (select from schedules s
                                 where s.workload = w.workload and not s.flying and s.ready_at <= now()
                                 order by s.ready_at limit 1) s",
            &[&names],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let place: i64 = row.try_get("place")?;
            Ok(usize::try_from(place - 1).ok().and_then(|place| Workload::ALL.get(place).copied()))
        })
        .filter_map(Result::transpose)
        .collect()
}

/// Plans and queues one batch, whoever else is planning: their plans are worth nothing from then on. What the scheduler
/// does is [`plan`] once and [`queue_planned`] batch by batch. The caller commits before it publishes.
pub async fn claim_due(ring: &Ring, scan: &Scan) -> Result<Vec<Queued>> {
    let Some(mut found) = plan(ring, scan, scan.batch, Turn::Taken).await? else { return Ok(Vec::new()) };
    Ok(queue_planned(ring, &mut found, scan.batch).await?.unwrap_or_default())
}

/// Queues the plan's next batch, under a new claim each; what is no longer due or somebody else's by now is passed over.
/// None when another plan followed this one: its counts are no longer true, and nothing may be queued by it. The caller
/// commits before it publishes.
pub async fn queue_planned(ring: &Ring, plan: &mut Plan, batch: u32) -> Result<Option<Vec<Queued>>> {
    let (places, mailboxes) = plan.next(batch);
    let last = plan.is_done();
    // The row is the lock: a plan that is made at this moment waits for this batch, and counts it.
    let held = ring
        .execute(
            "update turns set until = case when $3 then now() else now() + make_interval(secs => $4) end
             where workload = $1 and plan = $2",
            &[&plan.workload.as_str(), &plan.number, &last, &super::plan::POLITE_SECONDS],
        )
        .await?;
    if held == 0 {
        return Ok(None);
    }
    let rows = ring
        .query(
            // Laterally, so that each row is gone to where it stands, page by page, whatever the planner thinks of the table.
            "with chosen as (
                select s.place, s.ready_at
                from (
                    select u.place, u.mailbox from unnest($2::text[]::tid[], $3::uuid[]) as u(place, mailbox) order by u.place
                ) u cross join lateral (
                    select s.ctid as place, s.ready_at from schedules s
                    where s.ctid = u.place and s.mailbox_id = u.mailbox and s.workload = $1
                      and not s.flying and s.ready_at <= now()
                    for no key update skip locked
                ) s
            )
            update schedules s
            set state = 'queued', claim = s.claim + 1, since = now(), wished_at = null, due_at = c.ready_at
            from chosen c where s.ctid = c.place
            returning s.organization_id, s.mailbox_id, s.profile_id, s.claim,
                      extract(epoch from now() - c.ready_at)::float8 as waited",
            &[&plan.workload.as_str(), &places, &mailboxes],
        )
        .await?;
    let queued: Result<Vec<_>> = rows
        .iter()
        .map(|row| {
            let claim = Claim {
                mailbox: MailboxId(row.try_get("mailbox_id")?),
                workload: plan.workload,
                number: row.try_get("claim")?,
            };
            let place = Place {
                organization: OrganizationId(row.try_get("organization_id")?),
                profile: ProfileId(row.try_get("profile_id")?),
                claim,
            };
            Ok(Queued { place, waited: seconds(row.try_get("waited")?) })
        })
        .collect();
    Ok(Some(queued?))
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

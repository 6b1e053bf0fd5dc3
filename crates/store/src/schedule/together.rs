//! The two statements of a cycle that has nothing to do, for many cycles of any organization at once (decision 0065): as the ring,
//! whose columns they are, and by the whole key that each cycle was given. What these statements pass over, the tenant's own
//! [`claim`](super::claim()) and [`finish`](super::finish()) decide about.

use std::sync::Arc;

use model::cadence::{DueReason, Next, Outcome};
use model::crash::{self, Point};
use model::id::{OrganizationId, SessionId};
use uuid::Uuid;

use super::claim::{Written, claimed, counter};
use super::{Claim, ClaimedCycle};
use crate::round::{Request, Rounds, place, together, unasked};
use crate::{Result, Store};

/// Takes the cycle that a message invites to, as [`claim`](super::claim()) does, in one statement and commit with what else is being
/// claimed at this moment. What comes back is committed.
pub async fn claim_together(
    store: &Store,
    organization: OrganizationId,
    claim: Claim,
    session: SessionId,
) -> Result<Option<ClaimedCycle>> {
    let taken = together(store, Wanted { organization, claim, session }).await?;
    if taken.is_some() {
        return Ok(taken);
    }
    // Refused, or its row was locked just then: only the tenant's own claim says which.
    store.in_tenant(organization, async |tenant| super::claim(tenant, claim, session).await).await
}

/// The end of a cycle that writes nothing but its schedule row.
#[derive(Clone, Debug)]
pub struct End {
    /// Whose.
    pub organization: OrganizationId,
    /// Under which claim it ran.
    pub claim: Claim,
    /// Who ran it.
    pub session: SessionId,
    /// How it ended.
    pub outcome: Outcome,
    /// When it is due again.
    pub next: Next,
    /// The key of an endpoint that must not be known to fail: the server answered, and if it is thought to be down more is to be
    /// written than this row.
    pub sound: Option<String>,
}

/// Ends the cycle as [`finish`](super::finish()) does, in one statement and commit with what else ends at this moment. Says
/// whether it did; if not, nothing is written, and the end needs a transaction of its own.
pub async fn finish_together(store: &Store, end: End) -> Result<bool> {
    if matches!(end.outcome, Outcome::Failed(_)) || end.next.switch_off.is_some() {
        return Ok(false);
    }
    Ok(together(store, end).await?.is_some())
}

/// Where those of a process meet who go to the database together.
#[derive(Default)]
pub(crate) struct Meeting {
    claims: Arc<Rounds<Wanted>>,
    ends: Arc<Rounds<End>>,
    pub(crate) turns: Arc<Rounds<crate::outgoing::Turn>>,
}

/// A claim that is asked for.
pub(crate) struct Wanted {
    organization: OrganizationId,
    claim: Claim,
    session: SessionId,
}

impl Request for Wanted {
    type Answer = ClaimedCycle;
    type Key = ();

    fn key(&self) {}

    fn rounds(store: &Store) -> &Arc<Rounds<Self>> {
        &store.meeting().claims
    }

    async fn all(store: &Store, wanted: &[Self]) -> Result<Vec<(usize, ClaimedCycle)>> {
        let column = |value: fn(&Self) -> Uuid| wanted.iter().map(value).collect::<Vec<_>>();
        let workloads: Vec<_> = wanted.iter().map(|one| one.claim.workload.as_str()).collect();
        let numbers: Vec<_> = wanted.iter().map(|one| one.claim.number).collect();
        let ring = store.ring().await?;
        // Laterally, so that it is by the key whatever the planner thinks of the table; and without waiting, so that two rounds
        // never wait for each other and a row that somebody else holds holds up nobody.
        let rows = ring
            .query(
                "with wanted as (
                    select u.place, u.session, s.place as found
                    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::uuid[]) with ordinality
                        as u(organization, mailbox, workload, number, session, place)
                    cross join lateral (
                        select s.ctid as place from schedules s
                        where s.organization_id = u.organization and s.mailbox_id = u.mailbox and s.workload = u.workload
                          and s.claim = u.number and s.state = 'queued'
                        for no key update skip locked
                    ) s
                    where exists (select from sessions l where l.id = u.session and l.ended_at is null
                                      and l.seen_at + l.dead_after > now())
                )
                update schedules s set state = 'running', session_id = w.session, since = now(), wished_at = null
                from wanted w where s.ctid = w.found
                returning w.place - 1 as place,
                    profile_id, due_reason, quiet_cycles, failures, refusals, deaths, held_since is not null as held_back,
                    greatest(extract(epoch from now() - due_at), 0)::float8 as waited,
                    greatest(extract(epoch from now() - first_refused_at), 0)::float8 as first_refused",
                &[
                    &column(|one| one.organization.0),
                    &column(|one| one.claim.mailbox.0),
                    &workloads,
                    &numbers,
                    &column(|one| one.session.0),
                ],
            )
            .await?;
        let taken: Result<Vec<_>> = rows
            .iter()
            .map(|row| {
                let place = place(row)?;
                let one = wanted.get(place).ok_or_else(unasked)?;
                Ok((place, claimed(row, one.claim)?))
            })
            .collect();
        let taken = taken?;
        ring.commit().await?;
        Ok(taken)
    }
}

impl Request for End {
    type Answer = ();
    type Key = ();

    fn key(&self) {}

    fn rounds(store: &Store) -> &Arc<Rounds<Self>> {
        &store.meeting().ends
    }

    async fn all(store: &Store, ends: &[Self]) -> Result<Vec<(usize, ())>> {
        let ids = |value: fn(&Self) -> Uuid| ends.iter().map(value).collect::<Vec<_>>();
        let numbers =
            |value: fn(&Self) -> u32| ends.iter().map(|end| counter(value(end))).collect::<Vec<_>>();
        let seconds = |value: fn(&Next) -> Option<std::time::Duration>| {
            ends.iter()
                .map(|end| value(&end.next).map(|duration| duration.as_secs_f64()))
                .collect::<Vec<Option<f64>>>()
        };
        let written: Vec<_> = ends.iter().map(|end| Written::of(&end.outcome)).collect();
        let workloads: Vec<_> = ends.iter().map(|end| end.claim.workload.as_str()).collect();
        let claims: Vec<_> = ends.iter().map(|end| end.claim.number).collect();
        let reasons: Vec<_> = ends.iter().map(|end| end.next.reason.as_str()).collect();
        let held_by: Vec<_> = ends.iter().map(|end| end.next.held_by.map(DueReason::as_str)).collect();
        let proves: Vec<_> = written.iter().map(|written| written.proves).collect();
        let outcomes: Vec<_> = written.iter().map(|written| written.outcome.as_str()).collect();
        let items: Vec<_> = written.iter().map(|written| written.items).collect();
        let sound: Vec<_> = ends.iter().map(|end| end.sound.as_deref()).collect();
        let ring = store.ring().await?;
        let rows = ring
            .query(
                "with ends as (
                    select u.*, s.place as found
                    from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::uuid[], $6::float8[], $7::text[],
                                $8::float8[], $9::text[], $10::int[], $11::int[], $12::int[], $13::bool[], $14::text[],
                                $15::int[], $16::text[]) with ordinality
                        as u(organization, mailbox, workload, number, session, delay, reason, not_before, held_by, quiet,
                             failures, refusals, proves, outcome, items, sound, place)
                    cross join lateral (
                        select s.ctid as place from schedules s
                        where s.organization_id = u.organization and s.mailbox_id = u.mailbox and s.workload = u.workload
                          and s.claim = u.number and s.state = 'running' and s.session_id = u.session
                          and (u.sound is null
                               or not exists (select from endpoints e
                                              where e.organization_id = s.organization_id and e.profile_id = s.profile_id
                                                and e.endpoint = u.sound and e.failures > 0))
                        for no key update skip locked
                    ) s
                )
                update schedules s set
                    state = 'idle', session_id = null, since = now(),
                    due_at = now() + make_interval(secs => e.delay), due_reason = e.reason,
                    not_before = now() + make_interval(secs => e.not_before),
                    not_before_reason = case when e.not_before is null then null else coalesce(e.held_by, e.reason) end,
                    quiet_cycles = e.quiet, failures = e.failures, refusals = e.refusals,
                    first_refused_at = case when e.refusals = 0 then null else coalesce(first_refused_at, now()) end,
                    deaths = case when e.proves then 0 else deaths end,
                    held_since = null,
                    last_outcome = e.outcome, last_items = e.items, last_finished_at = now()
                from ends e where s.ctid = e.found
                returning e.place - 1 as place, coalesce(s.ready_at <= now() and s.wished_at is not null, false) as wished",
                &[
                    &ids(|end| end.organization.0),
                    &ids(|end| end.claim.mailbox.0),
                    &workloads,
                    &claims,
                    &ids(|end| end.session.0),
                    &seconds(|next| next.delay),
                    &reasons,
                    &seconds(|next| next.not_before),
                    &held_by,
                    &numbers(|end| end.next.quiet_cycles),
                    &numbers(|end| end.next.failures),
                    &numbers(|end| end.next.refusals),
                    &proves,
                    &outcomes,
                    &items,
                    &sound,
                ],
            )
            .await?;
        let mut wished = false;
        let mut ended = Vec::with_capacity(rows.len());
        for row in &rows {
            wished |= row.try_get::<_, bool>("wished")?;
            ended.push((place(row)?, ()));
        }
        if wished {
            super::poke(&ring).await?;
        }
        crash::point(Point::FinishBefore);
        ring.commit().await?;
        crash::point(Point::FinishAfter);
        Ok(ended)
    }
}

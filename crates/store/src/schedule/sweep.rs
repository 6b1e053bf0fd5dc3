//! What brings lost work back: dead workers, lost messages, a lost queue, a send without a due time. Every sweep is
//! safe to run at any moment, twice, and by several schedulers at once.

use std::time::Duration;

use model::workload::Workload;
use serde::Deserialize;

use crate::{Result, Ring, job, session};

/// When something counts as lost: the section `scheduler.sweep` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepTimes {
    /// A cycle that runs for longer is taken back although its session is alive: twice the cycle's time cap, in seconds.
    pub cycle_seconds: u64,
    /// The same for an async job, in seconds.
    pub job_seconds: u64,
    /// What waits in a queue for longer is taken back: the queue's message TTL and a margin, so that the broker's
    /// copy is gone first, in seconds.
    pub queued_seconds: u64,
}

/// What a sweep brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that were silent for too long.
    pub sessions: u64,
    /// Cycles of dead sessions, or that ran for too long.
    pub cycles: u64,
    /// Cycles whose message was lost.
    pub undelivered: u64,
    /// Jobs of either kind.
    pub jobs: u64,
}

/// Makes due again what nobody works on any more.
pub async fn sweep(ring: &Ring, times: &SweepTimes) -> Result<Swept> {
    let sessions = session::end_silent(ring).await?;
    // A row that is locked right now belongs to somebody who lives; the next sweep sees it again.
    let cycles = ring
        .execute(
            "with lost as (
                select s.ctid as place from schedules s
                where s.flying and s.state = 'running'
                  and (s.since < now() - make_interval(secs => $1)
                       or not exists (select from sessions l where l.id = s.session_id and l.ended_at is null))
                for update skip locked
            )
            update schedules s set state = 'idle', session_id = null, since = now(),
                due_at = now(), due_reason = 'worker_died', deaths = deaths + 1
            from lost where s.ctid = lost.place",
            &[&as_seconds(times.cycle_seconds)],
        )
        .await?;
    let undelivered = ring
        .execute(
            "with lost as (
                select s.ctid as place from schedules s
                where s.flying and s.state = 'queued' and s.since < now() - make_interval(secs => $1)
                for update skip locked
            )
            update schedules s set state = 'idle', since = now(), due_at = now(), due_reason = 'not_delivered'
            from lost where s.ctid = lost.place",
            &[&as_seconds(times.queued_seconds)],
        )
        .await?;
    let jobs = job::sweep(ring, times).await?;
    Ok(Swept { sessions, cycles, undelivered, jobs })
}

/// Makes due now what was queued for a queue that the broker no longer has.
pub async fn queue_lost(ring: &Ring, workload: Workload) -> Result<u64> {
    ring.execute(
        "update schedules set state = 'idle', since = now(), due_at = now(), due_reason = 'not_delivered'
         where flying and state = 'queued' and workload = $1",
        &[&workload.as_str()],
    )
    .await
}

/// Gives every mailbox with a pending send and no due time the earliest next try of its sends. Send and `finish` set
/// it; this repairs what a bug or a person at the database left behind, and runs every few minutes.
pub async fn repair_outgoing(ring: &Ring) -> Result<u64> {
    ring.execute(
        "update schedules s set due_at = pending.earliest, due_reason = 'pending_send'
         from (
            select e.organization_id, e.mailbox_id, min(greatest(r.next_try_at, q.not_before)) as earliest
            from emails e
            join send_requests q on q.organization_id = e.organization_id and q.email_id = e.id
                and q.ended_at is null
            join send_recipients r on r.organization_id = q.organization_id and r.send_request_id = q.id
                and r.state in ('waiting', 'deferred')
            where e.state = 'pending_send'
            group by e.organization_id, e.mailbox_id
         ) pending
         where s.organization_id = pending.organization_id and s.mailbox_id = pending.mailbox_id
           and s.workload = 'outgoing' and s.state = 'idle' and s.due_at is null
           and s.due_reason = 'nothing_to_send'",
        &[],
    )
    .await
}

/// Whole seconds as Postgres takes them.
pub(crate) fn as_seconds(seconds: u64) -> f64 {
    Duration::from_secs(seconds).as_secs_f64()
}

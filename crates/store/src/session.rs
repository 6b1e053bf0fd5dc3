//! Worker processes that are alive. A session that was silent for too long is dead and never comes back to life:
//! its process must stop what it does and start a new one. All times are Postgres's.

use std::time::Duration;

use model::id::SessionId;
use model::workload::Workload;
use serde::Deserialize;

use crate::{Result, Ring, Transaction};

mod keeper;

pub use keeper::Keeper;

/// How a process stays alive: the sections `worker.session` and `jobs.session` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// A process says that it is alive this often, in seconds.
    pub beat_seconds: u64,
    /// Silent for this long, it is dead and its cycles are given to others, in seconds.
    pub dead_after_seconds: u64,
}

/// What a process learns when it says that it is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a dead session's process must stop its work at once"]
pub enum Beat {
    /// Heard.
    Alive,
    /// Too late, or ended: what the session held belongs to others now.
    Dead,
}

/// The processes that are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// How many.
    pub sessions: u32,
    /// How many cycles they can run at once, together.
    pub slots: Slots,
}

/// How many cycles can run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Sends.
    pub sends: u32,
    /// Cycles of every other workload, together.
    pub others: u32,
}

impl Slots {
    /// How many cycles of one workload.
    pub fn of(self, workload: Workload) -> u32 {
        match workload {
            Workload::Outgoing => self.sends,
            Workload::Incoming | Workload::Act => self.others,
        }
    }
}

impl From<u32> for Slots {
    /// Slots that are all the same.
    fn from(all: u32) -> Self {
        Self { sends: all, others: all }
    }
}

/// Begins the life of a process that can run so many cycles at once. `process` is its name for people.
pub async fn start(
    ring: &Ring,
    process: &str,
    slots: impl Into<Slots>,
    dead_after: Duration,
) -> Result<SessionId> {
    let session: SessionId = model::clock::new_id();
    let Slots { sends, others } = slots.into();
    let narrow = |slots: u32| i32::try_from(slots).unwrap_or(i32::MAX);
    ring.execute(
        "insert into sessions (id, process, slots, send_slots, dead_after)
         values ($1, $2, $3, $4, make_interval(secs => $5))",
        &[&session.0, &process, &narrow(others), &narrow(sends), &dead_after.as_secs_f64()],
    )
    .await?;
    Ok(session)
}

/// Says that the process is alive.
pub async fn beat(ring: &Ring, session: SessionId) -> Result<Beat> {
    let heard = ring
        .execute(
            "update sessions set seen_at = now()
             where id = $1 and ended_at is null and seen_at + dead_after > now()",
            &[&session.0],
        )
        .await?;
    Ok(if heard == 1 { Beat::Alive } else { Beat::Dead })
}

/// Ends the life of a process that stops in good order; what it still holds is free at the next sweep.
pub async fn end(ring: &Ring, session: SessionId) -> Result<()> {
    ring.execute("update sessions set ended_at = now() where id = $1 and ended_at is null", &[&session.0])
        .await?;
    Ok(())
}

/// Whether a process is alive: one that is not may neither claim nor refuse for others.
pub async fn is_alive(transaction: &Transaction, session: SessionId) -> Result<bool> {
    let alive = transaction
        .query_opt(
            "select from sessions where id = $1 and ended_at is null and seen_at + dead_after > now()",
            &[&session.0],
        )
        .await?;
    Ok(alive.is_some())
}

/// Who is alive, and how much they can do.
pub async fn live(transaction: &Transaction) -> Result<Live> {
    let row = transaction
        .query_one(
            "select count(*), coalesce(sum(coalesce(send_slots, slots)), 0)::bigint,
                    coalesce(sum(slots), 0)::bigint from sessions
             where ended_at is null and seen_at + dead_after > now()",
            &[],
        )
        .await?;
    let number = |column: usize| -> Result<u32> {
        Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(u32::MAX))
    };
    Ok(Live { sessions: number(0)?, slots: Slots { sends: number(1)?, others: number(2)? } })
}

/// Ends the sessions that were silent for too long, and forgets those that ended a day ago. Ending them first means
/// that a beat and a sweep at the same moment agree: one of them waits for the other's row.
pub(crate) async fn end_silent(ring: &Ring) -> Result<u64> {
    ring.execute("delete from sessions where ended_at < now() - interval '1 day'", &[]).await?;
    ring.execute(
        "update sessions set ended_at = now() where ended_at is null and seen_at + dead_after <= now()",
        &[],
    )
    .await
}

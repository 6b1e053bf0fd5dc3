//! Keeps a process's session alive, and says so at once when it no longer can: whoever cannot prove that it lives
//! must stop before others are given its work.

use std::time::Duration;

use model::id::SessionId;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Beat, Slots, Times, beat, end, start};
use crate::{Result, Store};

/// A session that beats in the background for as long as this value lives.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    session: SessionId,
    lost: CancellationToken,
    _beating: DropGuard,
}

impl Keeper {
    /// Begins a session that can run so many cycles at once, and keeps it.
    pub async fn start(store: &Store, process: &str, slots: Slots, times: Times) -> Result<Self> {
        let dead_after = Duration::from_secs(times.dead_after_seconds);
        // Counted from before the question: Postgres's answer can only be later.
        let asked = Instant::now();
        let session = store.in_ring(async |ring| start(ring, process, slots, dead_after).await).await?;
        let (lost, beating) = (CancellationToken::new(), CancellationToken::new());
        let task = beats(store.clone(), session, times, asked, lost.clone());
        tokio::spawn(beating.clone().run_until_cancelled_owned(task));
        Ok(Self { store: store.clone(), session, lost, _beating: beating.drop_guard() })
    }

    /// Which session this is.
    pub fn id(&self) -> SessionId {
        self.session
    }

    /// Cancelled when the session is dead, or must be taken for dead: stop everything that runs under it.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Ends the session in good order, once nothing runs under it any more.
    pub async fn end(self) {
        let ended = self.store.in_ring(async |ring| end(ring, self.session).await).await;
        if let Err(error) = ended {
            tracing::debug!(session.id = %self.session, "the session could not be ended and will be swept: {error}");
        }
    }
}

/// Beats until the session is dead. A beat that was not heard is tried again; once the last one that was heard is so
/// long ago that others may soon take over, the session is given up without asking.
async fn beats(store: Store, session: SessionId, times: Times, started: Instant, lost: CancellationToken) {
    let every = Duration::from_secs(times.beat_seconds.max(1));
    let dead_after = Duration::from_secs(times.dead_after_seconds);
    // A fifth of the time is kept for stopping what runs.
    let give_up = dead_after.mul_f64(0.8);
    let mut heard = started;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let left = (heard + give_up).saturating_duration_since(asked);
        match timeout(left, store.in_ring(async |ring| beat(ring, session).await)).await {
            Ok(Ok(Beat::Alive)) => heard = asked,
            Ok(Ok(Beat::Dead)) => {
                tracing::error!(session.id = %session, "the session is dead: its work belongs to others now");
                return lost.cancel();
            }
            Ok(Err(error)) if heard.elapsed() < give_up => {
                tracing::warn!(session.id = %session, "the session could not be kept alive, trying again: {error}");
                // Sooner than the next beat: every second counts now.
                ticks.reset_after(every.min(Duration::from_secs(1)));
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(session.id = %session, "Postgres did not hear the session in time: stopping its work");
                return lost.cancel();
            }
        }
    }
}

//! What a lease is allowed of rates: messages, requests, bytes in any window of a length. It is asked for with the lease and
//! under it, counted here before it is used, and given back with the lease.
//!
//! Nothing here allows anything: that is the coordinator's ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::link::Command;
use crate::request::millis;
use crate::v1;

/// How long an answer is waited for when more is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
/// When it is asked again after that.
const AWAY: Duration = Duration::from_secs(30);

/// So much in any window of that length, for everyone who names the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The name it is counted under, together with the window.
    pub key: String,
    /// How much there may be, at least 1.
    pub amount: u64,
    /// From a second to a day.
    pub window: Duration,
    /// Less than this at the beginning is no use: then there is no lease.
    pub least: u64,
    /// How much is asked for at a time, where there is so much.
    pub portion: u64,
}

/// A rate is spent for now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is spent; asking again in {} s", .retry_after.as_millis().div_ceil(1000))]
pub struct Spent {
    /// When asking again makes sense.
    pub retry_after: Duration,
    /// The rate.
    pub key: String,
}

/// What a lease is allowed of each of its rates, by their places in the request. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Allowance {
    lease: Uuid,
    meters: Meters,
    commands: mpsc::UnboundedSender<Command>,
}

/// The counts alone.
#[derive(Clone, Debug)]
pub(crate) struct Meters(Arc<Mutex<Vec<Meter>>>);

/// Counted from the beginning of the lease.
#[derive(Clone, Debug)]
struct Meter {
    rate: Rate,
    allowed: u64,
    spent: u64,
}

impl Rate {
    /// What is asked for with the lease.
    pub(crate) fn to_wire(&self) -> v1::Rate {
        self.asked(0, self.least, self.portion.max(self.least))
    }

    fn asked(&self, spent: u64, least: u64, most: u64) -> v1::Rate {
        let (key, window_ms) = (self.key.clone(), millis(self.window));
        v1::Rate { key, amount: self.amount, window_ms, least, most, spent, allowed: 0 }
    }
}

impl Allowance {
    pub(crate) fn new(
        lease: Uuid,
        rates: Vec<Rate>,
        allowed: &[u64],
        commands: mpsc::UnboundedSender<Command>,
    ) -> Self {
        let allowed = allowed.iter().copied().chain(std::iter::repeat(0));
        let meters = rates.into_iter().zip(allowed).map(|(rate, allowed)| Meter { rate, allowed, spent: 0 });
        Self { lease, meters: Meters(Arc::new(Mutex::new(meters.collect()))), commands }
    }

    /// Sees to it that so much more of each rate may be used, by its place in the request, and asks for more where it
    /// has to: for the second number where there is so much. What is more than half of a window's amount may be used when half
    /// of it is free, or it would never be. One task asks at a time.
    pub async fn room(&self, wants: &[(usize, u64, u64)]) -> Result<(), Spent> {
        let Some((asked, most)) = self.lacking(wants) else { return Ok(()) };
        let away =
            || Spent { retry_after: AWAY, key: asked.first().map_or_else(String::new, |r| r.key.clone()) };
        let (answer, answered) = oneshot::channel();
        let rates = asked.clone();
        self.commands.send(Command::Draw { id: self.lease, rates, answer }).map_err(|_| away())?;
        let allowed = tokio::time::timeout(PATIENCE, answered).await;
        let allowed = allowed.map_err(|_| away())?.map_err(|_| away())??;
        let mut meters = self.meters.get();
        for (place, allowed) in most.into_iter().zip(allowed) {
            if let Some(meter) = meters.get_mut(place) {
                meter.allowed = meter.allowed.max(allowed);
            }
        }
        drop(meters);
        if self.lacking(wants).is_none() { Ok(()) } else { Err(away()) }
    }

    /// What has to be asked for, with the places of its rates; none when all of it is there.
    fn lacking(&self, wants: &[(usize, u64, u64)]) -> Option<(Vec<v1::Rate>, Vec<usize>)> {
        let meters = self.meters.get();
        let (mut asked, mut places) = (Vec::new(), Vec::new());
        for (place, least, most) in wants {
            let Some(Meter { rate, allowed, spent }) = meters.get(*place) else { continue };
            let least = (*least).min(rate.amount.div_ceil(2));
            if spent + least > *allowed {
                let wish = rate.asked(*spent, spent + least, spent + rate.portion.max(*most).max(least));
                asked.push(v1::Rate { allowed: *allowed, ..wish });
                places.push(*place);
            }
        }
        (!asked.is_empty()).then_some((asked, places))
    }

    /// How much more may be used without asking.
    pub fn left(&self, place: usize) -> u64 {
        self.meters.get().get(place).map_or(0, |meter| meter.allowed.saturating_sub(meter.spent))
    }

    /// Counts what is about to be used.
    pub fn spend(&self, place: usize, amount: u64) {
        let mut meters = self.meters.get();
        if let Some(meter) = meters.get_mut(place) {
            meter.spent += amount;
        }
    }

    /// What is said of it when the lease is given back.
    pub(crate) fn spent(&self) -> Vec<v1::Rate> {
        self.meters.get().iter().map(|meter| meter.rate.asked(meter.spent, 0, 0)).collect()
    }

    pub(crate) fn meters(&self) -> Meters {
        self.meters.clone()
    }
}

impl Meters {
    fn get(&self) -> MutexGuard<'_, Vec<Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of it at the beginning of a stream. What was spent is not said in the middle of its use.
    pub(crate) fn allowed(&self) -> Vec<v1::Rate> {
        let said = |meter: &Meter| v1::Rate { allowed: meter.allowed, ..meter.rate.asked(0, 0, 0) };
        self.get().iter().map(said).collect()
    }
}

//! What the link learns from its coordinator.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Held, Link};
use crate::lease::{Lease, Life};
use crate::rate::{Allowance, Spent};
use crate::request::Denied;
use crate::v1::{self, coordinator_message, denied::Reason};

impl Link {
    /// Takes in what the coordinator says.
    pub(super) fn learn(&mut self, message: coordinator_message::Message) {
        match message {
            coordinator_message::Message::Granted(granted) => self.granted(&granted),
            coordinator_message::Message::Denied(denied) => {
                if let Some(asked) = parse(&denied.lease_id).and_then(|id| self.asked.remove(&id)) {
                    asked.answer.send(Err(denial(denied))).ok();
                }
            }
            coordinator_message::Message::Drawn(drawn) => self.drawn(drawn),
            coordinator_message::Message::Renewed(renewed) => {
                // Long renewals are answered in parts.
                let Some(at) = self.renewals.get(&renewed.renewal).copied() else { return };
                for id in renewed.lease_ids.iter().filter_map(|id| parse(id)) {
                    if let Some(held) = self.held.get_mut(&id)
                        && held.life.borrow().holds()
                    {
                        held.since = at;
                        let life = Life::from(at, Duration::from_millis(renewed.lifetime_ms));
                        held.life.send_replace(life);
                    }
                }
                for id in renewed.lost.iter().filter_map(|id| parse(id)) {
                    if let Some(held) = self.held.remove(&id) {
                        tracing::warn!(lease.id = %id, "a lease was lost; its connection is reset");
                        held.life.send_modify(|life| life.lost = true);
                    }
                }
            }
            coordinator_message::Message::Released(released) => {
                for id in released.lease_ids.iter().filter_map(|id| parse(id)) {
                    if let Some(done) = self.releasing.remove(&id).and_then(|releasing| releasing.done) {
                        done.send(()).ok();
                    }
                }
            }
        }
    }

    fn granted(&mut self, granted: &v1::Granted) {
        let Some(id) = parse(&granted.lease_id) else { return };
        // Without somebody who asked, the release that took the request back is under way already.
        let Some(asked) = self.asked.remove(&id) else { return };
        let Some(commands) = self.commands.upgrade() else { return };
        self.renew_every = Duration::from_millis(granted.renew_every_ms.max(1));
        let since = (asked.at + Duration::from_millis(granted.waited_ms)).min(Instant::now());
        let (life, watched) = watch::channel(Life::from(since, Duration::from_millis(granted.lifetime_ms)));
        let allowance = Allowance::new(id, asked.rates, &granted.allowed, commands.clone());
        self.held.insert(id, Held { life, meters: allowance.meters(), since });
        // An answer that nobody takes comes back and is dropped, which releases it.
        asked.answer.send(Ok(Lease::new(id, watched, commands, allowance))).ok();
    }

    fn drawn(&mut self, drawn: v1::Drawn) {
        let Some(id) = parse(&drawn.lease_id) else { return };
        // What was asked before is answered by the answer to what was asked last.
        if self.draws.get(&id).is_none_or(|drawing| drawing.draw != drawn.draw) {
            return;
        }
        if let Some(drawing) = self.draws.remove(&id) {
            let retry_after = Duration::from_millis(drawn.retry_after_ms);
            let spent = Spent { retry_after, key: drawn.key };
            drawing.answer.send(if drawn.allowed.is_empty() { Err(spent) } else { Ok(drawn.allowed) }).ok();
        }
    }
}

fn parse(id: &str) -> Option<Uuid> {
    id.parse().ok()
}

fn denial(denied: v1::Denied) -> Denied {
    let retry_after = Duration::from_millis(denied.retry_after_ms);
    match denied.reason() {
        Reason::NoCapacity => Denied::NoCapacity { retry_after },
        Reason::HeldBack => Denied::HeldBack { retry_after, key: denied.key },
        Reason::RateSpent => Denied::RateSpent { retry_after, key: denied.key },
        Reason::Invalid => Denied::Refused { why: denied.message },
        Reason::LedgerAway | Reason::Unspecified => Denied::Away { retry_after },
    }
}

//! What a worker does in a tick: it resets what it may not use any more, hears what it was told, uses and renews what it
//! holds, and asks for more.

use std::time::Duration;

use throttle::v1::{coordinator_message::Message, parcel::Content};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Broken, Connection, Cycle, LIFE, Stage, WINDOW, World, rate};
use crate::book::rate_key;
use crate::desk::lead::Heard;

impl World {
    pub(super) fn work(&mut self, at: usize) {
        let now = self.now;
        if self.workers[at].frozen.is_some_and(|until| until > now) {
            return;
        }
        self.workers[at].frozen = None;
        self.workers[at].severed = self.workers[at].severed.filter(|until| *until > now);
        self.reset_what_is_over(at);
        if self.workers[at].cut.is_some_and(|until| until <= now) {
            self.come_again(at);
        }
        while let Some((when, _)) = self.workers[at].heard.front()
            && *when <= now
        {
            let Some((_, content)) = self.workers[at].heard.pop_front() else { break };
            if let Content::Answered(message) = content {
                self.learn(at, message.message.unwrap());
            }
        }
        self.use_what_is_held(at);
        if self.workers[at].cut.is_none() && self.workers[at].cycles.len() < 3 && self.dice(8) == 0 {
            let lease = self.id();
            let ends = self.soon(4_000);
            self.workers[at].cycles.push(Cycle {
                lease,
                stage: Stage::Asked { at: now },
                ends,
                allowed: 0,
                spent: 0,
            });
            let claim = self.claim(lease);
            self.tell(at, claim);
        }
    }

    /// First of all: what could not be renewed is closed before anything else is done.
    fn reset_what_is_over(&mut self, at: usize) {
        for index in 0..self.workers[at].cycles.len() {
            let Cycle { lease, stage, ends, .. } = self.workers[at].cycles[index];
            match stage {
                Stage::Holds { until, .. } if until <= self.now || ends <= self.now => {
                    self.release(at, lease);
                }
                // What nobody heard the end of is closed by the server alone, after its idle time.
                Stage::Released { closed }
                    if closed <= self.now && !self.workers[at].doubts.contains(&lease) =>
                {
                    self.close(at, lease);
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, worker: usize, lease: Uuid) {
        self.server.retain(|connection| connection.worker != worker || connection.lease != lease);
    }

    fn release(&mut self, at: usize, lease: Uuid) {
        let late = self.broken == Some(Broken::ReleasedBeforeClosed);
        let closed = if late { self.soon(1_500) } else { self.now };
        let severed = self.workers[at].severed.is_some();
        if !late && !severed {
            self.close(at, lease);
        }
        if let Some(cycle) = self.workers[at].cycles.iter_mut().find(|cycle| cycle.lease == lease) {
            cycle.stage = Stage::Released { closed };
        }
        if severed {
            self.workers[at].doubts.push(lease);
        }
        let release = self.released(at, vec![lease]);
        self.tell(at, release);
    }

    /// What it says of leases at their end: of some it does not know whether the server heard it.
    fn released(&self, at: usize, ids: Vec<Uuid>) -> Heard {
        let sure = self.broken == Some(Broken::SilenceTakenForAnEnd);
        let doubts = &self.workers[at].doubts;
        let given_back = self.broken == Some(Broken::SpentGivenBack);
        let spent = |cycle: &Cycle| {
            let spent = if given_back { 0 } else { cycle.spent };
            (cycle.lease, vec![(rate_key(WINDOW, "server"), spent)])
        };
        let spent = self.workers[at].cycles.iter().filter(|cycle| ids.contains(&cycle.lease)).map(spent);
        let spent = spent.collect();
        let (in_doubt, ids) = ids.into_iter().partition(|id| !sure && doubts.contains(id));
        Heard::Release { ids, in_doubt, spent }
    }

    /// A new stream to whoever took the pen last; everything is said again.
    fn come_again(&mut self, at: usize) {
        let Some(decides) = self.who_decides() else { return };
        self.workers[at].cut = None;
        let stream = self.id();
        self.coordinators[decides].streams[at] = Some(stream);
        let (mut held, mut given_back, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        let mut allowed = Vec::new();
        for cycle in &mut self.workers[at].cycles {
            match &mut cycle.stage {
                Stage::Holds { asked_renewal, .. } => {
                    *asked_renewal = self.now;
                    held.push(cycle.lease);
                    allowed.push((cycle.lease, rate(cycle.lease, cycle.spent, cycle.allowed)));
                }
                Stage::Released { .. } => given_back.push(cycle.lease),
                Stage::Asked { at } => {
                    *at = self.now;
                    asked.push(cycle.lease);
                }
            }
        }
        self.tell(at, Heard::Renew { renewal: 0, ids: held });
        for (id, rate) in allowed {
            self.tell(at, Heard::Draw { id, draw: 0, rates: vec![rate] });
        }
        let release = self.released(at, given_back);
        self.tell(at, release);
        for lease in asked {
            let claim = self.claim(lease);
            self.tell(at, claim);
        }
    }

    fn learn(&mut self, at: usize, message: Message) {
        let now = self.now;
        let from_the_answer = self.broken == Some(Broken::CountedFromTheAnswer);
        let life = |asked: Instant| if from_the_answer { now + LIFE } else { asked + LIFE * 5 / 6 };
        match message {
            Message::Granted(granted) => {
                let lease: Uuid = granted.lease_id.parse().unwrap();
                let waited = Duration::from_millis(granted.waited_ms);
                let cycle = self.workers[at].cycles.iter_mut().find(|cycle| cycle.lease == lease);
                if let Some(cycle) = cycle
                    && let Stage::Asked { at: asked } = cycle.stage
                {
                    let until = life((asked + waited).min(now));
                    cycle.stage = Stage::Holds { asked_renewal: now, until };
                    cycle.allowed = granted.allowed[0];
                    if until > now && self.workers[at].severed.is_none() {
                        self.connections += 1;
                        self.server.push(Connection { worker: at, lease, used: now });
                    }
                }
            }
            Message::Drawn(drawn) => {
                let lease: Uuid = drawn.lease_id.parse().unwrap();
                if let Some(cycle) = self.workers[at].cycles.iter_mut().find(|cycle| cycle.lease == lease) {
                    cycle.allowed = drawn.allowed.first().copied().unwrap_or(0).max(cycle.allowed);
                }
            }
            Message::Denied(denied) => {
                let lease: Uuid = denied.lease_id.parse().unwrap();
                self.workers[at].cycles.retain(|cycle| cycle.lease != lease);
            }
            Message::Renewed(renewed) => {
                let ids = |list: &[String]| list.iter().map(|id| id.parse().unwrap()).collect::<Vec<Uuid>>();
                for cycle in &mut self.workers[at].cycles {
                    if let Stage::Holds { asked_renewal, until } = &mut cycle.stage
                        && ids(&renewed.lease_ids).contains(&cycle.lease)
                    {
                        *until = (*until).max(life(*asked_renewal));
                    }
                }
                for lease in ids(&renewed.lost) {
                    self.release(at, lease);
                }
            }
            Message::Released(released) => {
                let now = self.now;
                self.workers[at].cycles.retain(|cycle| {
                    !(released.lease_ids.contains(&cycle.lease.to_string())
                        && matches!(cycle.stage, Stage::Released { closed } if closed <= now))
                });
            }
        }
    }

    fn use_what_is_held(&mut self, at: usize) {
        let now = self.now;
        let (mut renew, severed) = (Vec::new(), self.workers[at].severed.is_some());
        let (uses, asks) = (self.dice(4) == 0, self.dice(6) == 0);
        let mut draws = Vec::new();
        for cycle in &mut self.workers[at].cycles {
            let Stage::Holds { asked_renewal, until } = &mut cycle.stage else { continue };
            // A grant may be heard of when its life is over.
            if uses && !severed && *until > now && cycle.spent < cycle.allowed {
                cycle.spent += 1;
                self.asked.push_back(now);
                self.uses += 1;
            }
            if asks && cycle.spent == cycle.allowed {
                draws.push((cycle.lease, rate(cycle.lease, cycle.spent, cycle.allowed)));
            }
            for connection in &mut self.server {
                if connection.lease == cycle.lease && !severed {
                    connection.used = now;
                }
            }
            // One renewal is under way at a time, so an answer is never taken for that of a later one.
            if now >= *asked_renewal + LIFE / 3 {
                *asked_renewal = now;
                renew.push(cycle.lease);
            }
        }
        for (id, rate) in draws {
            if self.workers[at].cut.is_none() {
                self.tell(at, Heard::Draw { id, draw: 0, rates: vec![rate] });
            }
        }
        if !renew.is_empty() && self.workers[at].cut.is_none() {
            self.tell(at, Heard::Renew { renewal: 0, ids: renew });
        }
    }
}

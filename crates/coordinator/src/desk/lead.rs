//! What the holder of the pen does with what it hears: the book decides, and what was decided waits here until it is
//! written down.
//!
//! No I/O and no clock, so that the simulation runs this very code. A renewal changes nothing that is written, but its
//! answer waits for a write all the same: only that shows that the pen is still ours.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use throttle::v1::{self, coordinator_message::Message, denied::Reason, parcel::Content};
use tokio::time::Instant;
use uuid::Uuid;

use crate::book::{Book, Changes, Claim, ClaimedRate, Decision, Drawing, Released, Verdict, rate_name};
use crate::ledger::whole_millis;

/// What a worker says, checked.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Acquire {
        claim: Claim,
        wait: Duration,
    },
    Renew {
        renewal: u64,
        ids: Vec<Uuid>,
    },
    Release {
        ids: Vec<Uuid>,
        /// Those whose server may go on counting.
        in_doubt: Vec<Uuid>,
        spent: Vec<LeaseSpent>,
    },
    Draw {
        id: Uuid,
        draw: u64,
        rates: Vec<ClaimedRate>,
    },
    BackOff {
        key: String,
        pause: Duration,
    },
    /// A request that makes no sense.
    Invalid {
        lease_id: String,
        why: String,
    },
}

/// What a lease spent of rates in all, by their keys.
pub(crate) type LeaseSpent = (Uuid, Vec<(Arc<str>, u64)>);

/// Something to say to a stream or a call, by its id.
pub(super) type Saying = (Uuid, Content);

/// A batch to write down, and what may be said then.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Changes,
    pub(super) sayings: Vec<Saying>,
}

#[derive(Debug)]
pub(super) struct Lead {
    pub(super) book: Book,
    lifetime_ms: u64,
    renew_every_ms: u64,
    retry_ms: u64,
    /// What may be said after the next write.
    sayings: Vec<Saying>,
    /// Redis is away: nothing is granted, and what must not be forgotten is kept.
    away: bool,
}

impl Lead {
    pub(super) fn new(book: Book, lifetime: Duration, renew_every: Duration, retry: Duration) -> Self {
        Self {
            book,
            lifetime_ms: whole_millis(lifetime),
            renew_every_ms: whole_millis(renew_every),
            retry_ms: whole_millis(retry),
            sayings: Vec::new(),
            away: false,
        }
    }

    pub(super) fn hear(&mut self, stream: Uuid, heard: Heard, received: Instant, now: Instant) {
        match heard {
            Heard::Acquire { claim, .. } if self.away => {
                self.book.release(claim.id, now);
                self.sayings.push((stream, self.denied_away(claim.id)));
            }
            Heard::Acquire { claim, wait } => {
                self.book.acquire(claim, received, received + wait, now);
            }
            Heard::Renew { renewal, ids } => {
                let mut answer =
                    v1::Renewed { renewal, lifetime_ms: self.lifetime_ms, ..v1::Renewed::default() };
                for id in ids {
                    let kept = self.book.renew(id, stream, now);
                    let list = if kept { &mut answer.lease_ids } else { &mut answer.lost };
                    list.push(id.to_string());
                }
                self.sayings.push((stream, answered(Message::Renewed(answer))));
            }
            Heard::Release { ids, in_doubt, spent } => {
                for (id, spent) in &spent {
                    self.book.spent(*id, spent, now);
                }
                for id in &ids {
                    self.book.release(*id, now);
                }
                for id in &in_doubt {
                    self.book.doubt(*id, now);
                }
                let lease_ids = ids.iter().chain(&in_doubt).map(Uuid::to_string).collect();
                self.sayings.push((stream, answered(Message::Released(v1::Released { lease_ids }))));
            }
            // The lease is held on, and asks again. What it may use already counts all the same.
            Heard::Draw { id, draw, rates } if self.away => {
                self.book.told(id, &rates, now);
                let drawn = v1::Drawn { retry_after_ms: self.retry_ms, ..drawn(id, draw) };
                self.sayings.push((stream, answered(Message::Drawn(drawn))));
            }
            Heard::Draw { id, draw, rates } => {
                let drawn = drawn(id, draw);
                let drawn = match self.book.draw(id, &rates, now) {
                    Drawing::Allowed(allowed) => v1::Drawn { allowed, ..drawn },
                    Drawing::Spent { pause, key } => {
                        let key = rate_name(&key).to_owned();
                        v1::Drawn { retry_after_ms: whole_millis(pause), key, ..drawn }
                    }
                    Drawing::Lost => v1::Drawn { retry_after_ms: self.retry_ms, ..drawn },
                };
                self.sayings.push((stream, answered(Message::Drawn(drawn))));
            }
            Heard::BackOff { key, pause } => self.book.back_off(&key, pause, now),
            Heard::Invalid { lease_id, why } => {
                let denied = v1::Denied {
                    lease_id,
                    reason: Reason::Invalid.into(),
                    message: why,
                    ..v1::Denied::default()
                };
                self.sayings.push((stream, answered(Message::Denied(denied))));
            }
        }
        self.take_decisions();
    }

    pub(super) fn stream_ended(&mut self, stream: Uuid, now: Instant) {
        self.book.stream_ended(stream, now);
        self.take_decisions();
    }

    /// An administrator's word that a connection is closed.
    pub(super) fn free(&mut self, call: Uuid, id: Option<Uuid>, now: Instant) {
        let freed = id.is_some_and(|id| self.book.release(id, now) == Released::Lease);
        self.sayings.push((call, Content::Freed(v1::FreeReply { freed })));
        self.take_decisions();
    }

    /// A grant that could not be said. The worker may ask again under the same id over another stream.
    pub(super) fn unheard(&mut self, id: Uuid, stream: Uuid, now: Instant) {
        self.book.release_unheard(id, stream, now);
        self.take_decisions();
    }

    pub(super) fn pass(&mut self, now: Instant) {
        self.book.pass(now);
        self.take_decisions();
    }

    fn take_decisions(&mut self) {
        for Decision { lease, stream, verdict } in self.book.decisions() {
            if let Some(content) = self.content(lease, verdict) {
                self.sayings.push((stream, content));
            }
        }
    }

    fn content(&self, lease: Uuid, verdict: Verdict) -> Option<Content> {
        let denied = |reason: Reason, retry_after_ms: u64, key: &str| {
            answered(Message::Denied(v1::Denied {
                lease_id: lease.to_string(),
                reason: reason.into(),
                retry_after_ms,
                key: key.to_owned(),
                message: String::new(),
            }))
        };
        Some(match verdict {
            Verdict::Waiting => return None,
            Verdict::Granted { waited } => answered(Message::Granted(v1::Granted {
                lease_id: lease.to_string(),
                lifetime_ms: self.lifetime_ms,
                renew_every_ms: self.renew_every_ms,
                // The worker asked before it was received here, and the life in the book counts from the yes.
                waited_ms: whole_millis(waited),
                allowed: self.book.allowed(lease),
            })),
            Verdict::Full { key } => denied(Reason::NoCapacity, self.retry_ms, &key),
            Verdict::HeldBack { pause, key } => denied(Reason::HeldBack, whole_millis(pause), &key),
            Verdict::Quiet { pause } => denied(Reason::LedgerAway, whole_millis(pause), ""),
            Verdict::Spent { pause, key } => denied(Reason::RateSpent, whole_millis(pause), rate_name(&key)),
        })
    }

    fn denied_away(&self, lease: Uuid) -> Content {
        answered(Message::Denied(v1::Denied {
            lease_id: lease.to_string(),
            reason: Reason::LedgerAway.into(),
            retry_after_ms: self.retry_ms,
            ..v1::Denied::default()
        }))
    }

    /// Whether there is something to write or to say.
    pub(super) fn has_news(&self) -> bool {
        !self.sayings.is_empty() || self.book.has_news()
    }

    /// What changed since the last batch, with what may be said once it is written.
    pub(super) fn batch(&mut self, now: Instant) -> Batch {
        Batch { changes: self.book.changes(now), sayings: together(mem::take(&mut self.sayings)) }
    }

    /// Everything, for a ledger that may have lost anything.
    pub(super) fn whole(&mut self, now: Instant) -> Batch {
        Batch { changes: self.book.whole(now), sayings: together(mem::take(&mut self.sayings)) }
    }

    /// The batch may be written or not. What it granted is taken back, who waits is sent away, and what must be said later
    /// is kept. What may be said at once comes back.
    pub(super) fn go_away(&mut self, batch: Batch, now: Instant) -> Vec<Saying> {
        self.away = true;
        self.take_decisions();
        let mut denials = Vec::new();
        let sayings = batch.sayings.into_iter().chain(mem::take(&mut self.sayings)).collect::<Vec<_>>();
        for (to, content) in sayings {
            match content {
                Content::Answered(v1::CoordinatorMessage { message: Some(message) }) => match message {
                    Message::Granted(granted) => {
                        if let Ok(id) = granted.lease_id.parse() {
                            self.book.release_unheard(id, to, now);
                            denials.push((to, self.denied_away(id)));
                        }
                    }
                    // A renewal is asked again by the worker as long as it can matter.
                    Message::Renewed(_) => {}
                    // What it allows may not be written down. It counts here as allowed, and is asked for again.
                    Message::Drawn(v1::Drawn { lease_id, draw, .. }) => {
                        let retry_after_ms = self.retry_ms;
                        let drawn = v1::Drawn { lease_id, draw, retry_after_ms, ..v1::Drawn::default() };
                        denials.push((to, answered(Message::Drawn(drawn))));
                    }
                    Message::Denied(_) => denials.push((to, answered(message))),
                    Message::Released(_) => self.sayings.push((to, answered(message))),
                },
                content => self.sayings.push((to, content)),
            }
        }
        for (lease, stream) in self.book.send_everyone_away(now) {
            denials.push((stream, self.denied_away(lease)));
        }
        denials
    }

    /// While Redis is away: what may be said all the same.
    pub(super) fn say_while_away(&mut self, now: Instant) -> Vec<Saying> {
        self.go_away(Batch::default(), now)
    }

    pub(super) fn come_back(&mut self) {
        self.away = false;
    }
}

pub(super) fn answered(message: Message) -> Content {
    Content::Answered(v1::CoordinatorMessage { message: Some(message) })
}

fn drawn(id: Uuid, draw: u64) -> v1::Drawn {
    v1::Drawn { lease_id: id.to_string(), draw, ..v1::Drawn::default() }
}

/// Puts the releases of each stream into one message.
fn together(sayings: Vec<Saying>) -> Vec<Saying> {
    let mut released: HashMap<Uuid, Vec<String>> = HashMap::new();
    let mut kept = Vec::with_capacity(sayings.len());
    for (to, content) in sayings {
        match content {
            Content::Answered(v1::CoordinatorMessage { message: Some(Message::Released(message)) }) => {
                released.entry(to).or_default().extend(message.lease_ids);
            }
            content => kept.push((to, content)),
        }
    }
    let released = released
        .into_iter()
        .map(|(to, lease_ids)| (to, answered(Message::Released(v1::Released { lease_ids }))));
    kept.extend(released);
    kept
}

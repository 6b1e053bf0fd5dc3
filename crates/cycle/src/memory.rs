//! The bytes of messages that a process may hold, and who may hold them. A profile takes never more than it leaves free for
//! others, so that servers which hold for long what they were given leave room for one more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::id::ProfileId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// A part of the process's memory. Cheap to clone; clones are the same part.
#[derive(Clone)]
pub(crate) struct Memory {
    part: Arc<Mutex<Part>>,
}

struct Part {
    all: u64,
    free: u64,
    /// What each profile holds, where it is not nothing.
    held: HashMap<ProfileId, u64>,
    /// In the order they came; whoever may have what it waits for passes those who may not.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    profile: ProfileId,
    sizes: Vec<u64>,
    granted: oneshot::Sender<Held>,
}

/// Memory that is held until this value goes.
pub(crate) struct Held {
    memory: Memory,
    profile: ProfileId,
    bytes: u64,
    /// How many of the sizes that were asked for it is, from the first on.
    pub(crate) count: usize,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let part = Part { all: bytes, free: bytes, held: HashMap::new(), waiting: VecDeque::new() };
        Self { part: Arc::new(Mutex::new(part)) }
    }

    /// Waits until memory may be held for the first of these sizes, and takes it for as many as may be then. A cycle holds one
    /// reservation at a time, so that none waits for another in a circle. None when there was no room until then.
    pub(crate) async fn reserve(&self, profile: ProfileId, sizes: Vec<u64>, until: Instant) -> Option<Held> {
        let granted = {
            let mut part = self.part();
            if let Some((count, bytes)) = part.take(profile, &sizes) {
                return Some(Held { memory: self.clone(), profile, bytes, count });
            }
            let (sender, granted) = oneshot::channel();
            part.waiting.push_back(Waiting { profile, sizes, granted: sender });
            granted
        };
        // What is granted and not taken any more is given back as it is dropped.
        timeout_at(until, granted).await.ok()?.ok()
    }

    /// The same for one size without waiting.
    pub(crate) fn reserve_now(&self, profile: ProfileId, size: u64) -> Option<Held> {
        let (count, bytes) = self.part().take(profile, &[size])?;
        Some(Held { memory: self.clone(), profile, bytes, count })
    }

    fn give_back(&self, profile: ProfileId, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let granted = {
            let mut part = self.part();
            part.give_back(profile, bytes);
            part.hand_out(self)
        };
        for (waiting, held) in granted {
            // Who has gone meanwhile gives it back by this.
            drop(waiting.send(held));
        }
    }

    fn part(&self) -> MutexGuard<'_, Part> {
        // Numbers alone, each change of them whole.
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// How many of the sizes fit, and their bytes; none when the first does not.
    fn take(&mut self, profile: ProfileId, sizes: &[u64]) -> Option<(usize, u64)> {
        let own = self.held.get(&profile).copied().unwrap_or(0);
        let (mut count, mut bytes) = (0, 0_u64);
        for size in sizes {
            // What is larger than all of it is held by nobody else at the same time.
            let next = bytes.saturating_add(*size).min(self.all);
            let fits = next <= self.free;
            let leaves_as_much = own.saturating_add(next) <= self.free.saturating_sub(next);
            let first = own == 0 && count == 0;
            if next > bytes && !(fits && (leaves_as_much || first)) {
                break;
            }
            (count, bytes) = (count + 1, next);
        }
        if count == 0 && !sizes.is_empty() {
            return None;
        }
        if bytes > 0 {
            self.free -= bytes;
            *self.held.entry(profile).or_default() += bytes;
        }
        Some((count, bytes))
    }

    fn give_back(&mut self, profile: ProfileId, bytes: u64) {
        self.free += bytes;
        if let Some(held) = self.held.get_mut(&profile) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.held.remove(&profile);
            }
        }
    }

    fn hand_out(&mut self, memory: &Memory) -> Vec<(oneshot::Sender<Held>, Held)> {
        let mut granted = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.granted.is_closed() {
                continue;
            }
            match self.take(waiting.profile, &waiting.sizes) {
                Some((count, bytes)) => {
                    let held = Held { memory: memory.clone(), profile: waiting.profile, bytes, count };
                    granted.push((waiting.granted, held));
                }
                None => self.waiting.push_back(waiting),
            }
        }
        granted
    }
}

impl Held {
    /// Gives back what is more than this.
    pub(crate) fn keep(&mut self, bytes: u64) {
        let rest = self.bytes.saturating_sub(bytes);
        self.bytes -= rest;
        self.memory.give_back(self.profile, rest);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.give_back(self.profile, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::clock;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    async fn at_once(memory: &Memory, profile: ProfileId, sizes: &[u64]) -> Option<Held> {
        memory.reserve(profile, sizes.to_vec(), soon()).await
    }

    #[tokio::test]
    async fn however_many_profiles_hold_what_they_may_there_is_room_for_one_more() {
        let memory = Memory::new(1_000_000);
        let mut held = Vec::new();
        for profiles in 1..=8 {
            let profile = clock::new_id();
            let mut own = 0;
            while let Some(one) = memory.reserve_now(profile, 1000) {
                own += one.bytes;
                held.push(one);
            }
            assert!(own > 0, "the {profiles}th profile gets some");
            if profiles == 1 {
                assert_eq!(own, 500_000, "alone it has a half");
            }
        }
        assert!(memory.reserve_now(clock::new_id(), 3000).is_some(), "a half of a half of a half is left");
        drop(held);
        let part = memory.part();
        assert_eq!((part.free, part.held.len()), (1_000_000, 0), "everything came back");
    }

    #[tokio::test]
    async fn a_batch_is_cut_to_what_there_is_room_for_and_one_message_is_the_least() {
        let memory = Memory::new(100);
        let (slow, fast) = (clock::new_id(), clock::new_id());
        let all = at_once(&memory, slow, &[30, 10, 20, 40]).await.unwrap();
        assert_eq!((all.count, all.bytes), (2, 40), "as much as it leaves to others");
        assert!(at_once(&memory, slow, &[30]).await.is_none());
        let one = at_once(&memory, fast, &[60, 1]).await.unwrap();
        assert_eq!((one.count, one.bytes), (1, 60), "who holds nothing may have one message");
        let nothing = at_once(&memory, slow, &[0, 0]).await.unwrap();
        assert_eq!((nothing.count, nothing.bytes), (2, 0), "what takes nothing waits for nothing");
        assert_eq!(at_once(&memory, slow, &[]).await.unwrap().count, 0);
        drop((all, one));
        assert_eq!(
            at_once(&memory, slow, &[1000]).await.unwrap().bytes,
            100,
            "more than there is: all of it"
        );
    }

    #[tokio::test]
    async fn who_waits_for_much_or_has_its_share_is_passed_and_who_went_away_leaves_nothing_behind() {
        let memory = Memory::new(100);
        let [slow, large, small] = [clock::new_id(), clock::new_id(), clock::new_id()];
        let mut held = memory.reserve_now(slow, 60).unwrap();
        let waits = |profile, size| {
            let memory = memory.clone();
            tokio::spawn(async move { memory.reserve(profile, vec![size], later()).await })
        };
        let (second, third) = (waits(slow, 40), waits(large, 80));
        while memory.part().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        let other = at_once(&memory, small, &[10]).await.expect("passes both");
        assert!(at_once(&memory, slow, &[30]).await.is_none(), "it went away by the end of its time");
        held.keep(10);
        let third = third.await.unwrap().expect("there is room now");
        assert!(!second.is_finished(), "it would have more than it leaves");
        drop((held, other, third));
        let second = second.await.unwrap().unwrap();
        assert_eq!(memory.part().free, 60);
        drop(second);
        let part = memory.part();
        assert_eq!((part.free, part.waiting.len()), (100, 0));
    }
}

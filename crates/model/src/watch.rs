//! A watch: one connection over which a server tells that something came into mailboxes. All that follows is a wish.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::MailboxId;

/// For how long a watch is claimed at most: an Exchange server listens for half an hour.
pub const LONGEST: Duration = Duration::from_secs(29 * 60);
/// Mailboxes on one connection at most, by Microsoft's word.
pub const MOST: u32 = 200;
/// A watch that lasted for so long has worked, however it ended: whoever ends sooner is left alone for longer each time.
pub const WORKED: Duration = Duration::from_secs(60);

/// How long a mailbox is not watched after so many tries in a row that came to nothing. Lengthened by up to a fifth; `jitter` is
/// in `0.0..1.0`.
pub fn pause(failures: u32, jitter: f64) -> Duration {
    const LONGEST_PAUSE: u64 = 1800;
    let seconds = 5u64 << failures.saturating_sub(1).min(20);
    Duration::from_secs(seconds.min(LONGEST_PAUSE)).mul_f64(1.0 + 0.2 * jitter.clamp(0.0, 1.0))
}

/// What was told and not wished for yet. Times are counted from any one moment, the same each time.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// How long what is told is gathered before it becomes a wish.
    gather: Duration,
    /// The least time between two wishes for one mailbox.
    every: Duration,
    waiting: BTreeMap<MailboxId, Duration>,
    made: BTreeMap<MailboxId, Duration>,
}

impl Wishes {
    /// One wish for a mailbox in so long a time.
    pub fn new(every: Duration) -> Self {
        let gather = every / 8;
        Self { gather, every, waiting: BTreeMap::new(), made: BTreeMap::new() }
    }

    /// Something came into the mailbox.
    pub fn note(&mut self, mailbox: MailboxId, now: Duration) {
        let soonest = self.made.get(&mailbox).map_or(Duration::ZERO, |made| *made + self.every);
        self.waiting.entry(mailbox).or_insert_with(|| soonest.max(now + self.gather));
    }

    /// When the next wish is due.
    pub fn next(&self) -> Option<Duration> {
        self.waiting.values().min().copied()
    }

    /// Takes the wishes that are due.
    pub fn due(&mut self, now: Duration) -> Vec<MailboxId> {
        let due: Vec<_> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in &due {
            self.waiting.remove(id);
            self.made.insert(*id, now);
        }
        due
    }

    /// Forgets a mailbox that is not listened to any more.
    pub fn forget(&mut self, mailbox: MailboxId) {
        self.waiting.remove(&mailbox);
        self.made.remove(&mailbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_two_wishes_and_what_comes_later_is_another_one() {
        let one: MailboxId = crate::clock::new_id();
        let mut wishes = Wishes::new(8 * SECOND);
        let mut made = Vec::new();
        for tick in 0..200 {
            let now = SECOND * tick / 10;
            // Fifty mails within five seconds, and one at 18.
            if tick < 50 || tick == 180 {
                wishes.note(one, now);
            }
            made.extend(wishes.due(now).into_iter().map(|_| now));
        }
        assert_eq!(made, [SECOND, 9 * SECOND, 19 * SECOND]);
        assert_eq!(wishes.next(), None);
    }

    #[test]
    fn each_mailbox_has_its_own_wishes() {
        let [one, other]: [MailboxId; 2] = [crate::clock::new_id(), crate::clock::new_id()];
        let mut wishes = Wishes::new(8 * SECOND);
        wishes.note(one, Duration::ZERO);
        wishes.note(other, SECOND / 2);
        assert_eq!(wishes.next(), Some(SECOND));
        assert_eq!(wishes.due(SECOND), [one]);
        wishes.note(one, 2 * SECOND);
        assert_eq!(wishes.due(3 * SECOND), [other]);
        wishes.forget(one);
        assert_eq!(wishes.next(), None);
    }

    #[test]
    fn who_fails_is_left_alone_for_longer_each_time_and_half_an_hour_at_most() {
        let seconds = |failures| pause(failures, 0.0).as_secs();
        assert_eq!([0, 1, 2, 3, 9, 10, 100].map(seconds), [5, 5, 10, 20, 1280, 1800, 1800]);
        assert_eq!(pause(1, 1.0), Duration::from_secs(6));
    }
}

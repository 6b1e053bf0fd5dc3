//! What one cycle may use before it commits what it has and makes room for others (design section 5).

use std::time::Duration;

/// The caps of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Items fetched or sent.
    pub items: u32,
    /// Bytes fetched or sent.
    pub bytes: u64,
    /// Time since the cycle began.
    pub time: Duration,
}

/// What a cycle has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Items fetched or sent.
    pub items: u32,
    /// Bytes fetched or sent.
    pub bytes: u64,
}

impl Caps {
    /// Whether a cycle that used this much in this time has to stop before another item.
    pub fn reached(&self, used: Used, time: Duration) -> bool {
        used.items >= self.items || used.bytes >= self.bytes || time >= self.time
    }

    /// What one of `parts` that come one after another may have of what is left: the caps that it must stop at. What it leaves
    /// is the others'.
    #[must_use]
    pub fn share(&self, used: Used, time: Duration, parts: u32) -> Self {
        let parts = parts.max(1);
        Self {
            items: used.items.saturating_add(self.items.saturating_sub(used.items).div_ceil(parts)),
            bytes: used.bytes.saturating_add(self.bytes.saturating_sub(used.bytes).div_ceil(parts.into())),
            time: time.saturating_add(self.time.saturating_sub(time) / parts),
        }
    }

    /// How many of the waiting items, given by size, fit into what is left; at least one, so that an item larger
    /// than the whole byte cap is still fetched, alone.
    pub fn fitting(&self, used: Used, batch: usize, sizes: impl IntoIterator<Item = u64>) -> usize {
        let left = usize::try_from(self.items.saturating_sub(used.items)).unwrap_or(usize::MAX).min(batch);
        let mut bytes = used.bytes;
        let mut count = 0;
        for size in sizes.into_iter().take(left) {
            bytes = bytes.saturating_add(size);
            if count > 0 && bytes > self.bytes {
                break;
            }
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { items: 10, bytes: 1000, time: Duration::from_secs(60) };

    #[test]
    fn any_cap_ends_a_cycle() {
        let used = |items, bytes| Used { items, bytes };
        assert!(!CAPS.reached(used(9, 999), Duration::from_secs(59)));
        assert!(CAPS.reached(used(10, 0), Duration::ZERO));
        assert!(CAPS.reached(used(0, 1000), Duration::ZERO));
        assert!(CAPS.reached(used(0, 0), Duration::from_secs(60)));
    }

    #[test]
    fn each_part_has_its_share_of_what_those_before_it_left() {
        let used = |items, bytes| Used { items, bytes };
        let seconds = Duration::from_secs;
        for (used, time, parts, expected) in [
            (used(0, 0), seconds(0), 1, CAPS),
            (used(0, 0), seconds(0), 4, Caps { items: 3, bytes: 250, time: seconds(15) }),
            (used(3, 250), seconds(15), 3, Caps { items: 6, bytes: 500, time: seconds(30) }),
            (used(1, 0), seconds(30), 2, Caps { items: 6, bytes: 500, time: seconds(45) }),
            (used(6, 500), seconds(45), 1, CAPS),
            (used(9, 999), seconds(60), 5, CAPS),
            (used(0, 0), seconds(0), 0, CAPS),
        ] {
            assert_eq!(CAPS.share(used, time, parts), expected, "{used:?} {time:?} {parts}");
        }
    }

    #[test]
    fn a_batch_fits_the_caps_and_is_never_empty_while_items_wait() {
        for (used_items, used_bytes, batch, sizes, expected) in [
            (0, 0, 100, vec![100; 20], 10),
            (8, 0, 100, vec![100; 20], 2),
            (0, 0, 3, vec![100; 20], 3),
            (0, 0, 100, vec![400; 20], 2),
            (0, 900, 100, vec![400; 20], 1),
            (0, 0, 100, vec![9999, 1], 1),
            (10, 0, 100, vec![1], 0),
            (0, 0, 100, vec![], 0),
        ] {
            let used = Used { items: used_items, bytes: used_bytes };
            assert_eq!(CAPS.fitting(used, batch, sizes.clone()), expected, "{used:?} {sizes:?}");
        }
    }
}

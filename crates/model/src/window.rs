//! How many cycles of one profile and class may be queued or running at once: a soft limit kept by the scheduler, so
//! that a slow server can never fill the queue or the workers. The hard limit is the coordinator's.

/// Room for new cycles of a profile and class.
///
/// `limit` is the hard limit of the endpoint, `finished` what the class finished there since the last scan,
/// `share_cap` the most slots of all workers that one profile and class may have, `in_flight` what is queued or
/// running now.
pub const fn room(limit: u32, finished: u32, share_cap: u32, in_flight: u32) -> u32 {
    let window = limit.saturating_mul(2).saturating_add(finished);
    let window = if window < share_cap { window } else { share_cap };
    window.saturating_sub(in_flight)
}

/// How much of `window` may be tried at once at a server that comes back, after so many cycles that `worked` since: one
/// probe first, and one more with each that works, which doubles what is tried with each round.
pub const fn slow_start(window: u32, worked: u32) -> u32 {
    let may = worked.saturating_add(1);
    if may < window { may } else { window }
}

/// Whether a server has come back altogether: as much as its `limit` asks for was tried, or as much as would hurt nobody.
pub const fn has_recovered(limit: u32, worked: u32) -> bool {
    let whole = limit.saturating_mul(2);
    worked >= if whole < RECOVERED { whole } else { RECOVERED }
}

/// After how many cycles that worked nobody is afraid of a stampede any more, whatever the limit.
pub const RECOVERED: u32 = 1024;

/// How many cycles of one workload may be queued or running at once while none ends: one waits for each that its `slots` can
/// run. More would wait in a queue where nobody can pass them by. What ended since the last scan is added twice, so that
/// slots which are soon free again never stand empty until the next one.
pub const fn in_flight(slots: u32) -> u32 {
    let slots = if slots == 0 { 1 } else { slots };
    slots.saturating_mul(2)
}

/// The most slots that one profile and class may have: a share of all workers' slots, and always one.
pub const fn share_cap(all_slots: u32, percent: u32) -> u32 {
    let cap = all_slots as u64 * percent as u64 / 100;
    if cap == 0 {
        1
    } else if cap > u32::MAX as u64 {
        u32::MAX
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the branch above")]
        {
            cap as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_twice_the_limit_and_what_finished_within_the_share_of_slots() {
        for (limit, finished, cap, in_flight, expected) in [
            (10, 0, 1000, 0, 20),
            (10, 0, 1000, 20, 0),
            (10, 0, 1000, 25, 0),
            (10, 30, 1000, 5, 45),
            (10, 30, 8, 5, 3),
            (1, 0, 1, 0, 1),
            (65_536, u32::MAX, u32::MAX, 0, u32::MAX),
        ] {
            assert_eq!(room(limit, finished, cap, in_flight), expected);
        }
    }

    #[test]
    fn a_server_that_comes_back_is_tried_by_one_and_then_by_twice_as_many() {
        for (limit, rounds) in [
            (1, &[1, 2][..]),
            (2, &[1, 2, 4]),
            (8, &[1, 2, 4, 8, 16]),
            (10, &[1, 2, 4, 8, 16]),
            (65_536, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]),
        ] {
            let (mut worked, mut tried) = (0, Vec::new());
            while !has_recovered(limit, worked) {
                tried.push(slow_start(limit * 2, worked));
                worked += tried[tried.len() - 1];
            }
            assert_eq!(tried, rounds, "a limit of {limit}");
        }
    }

    #[test]
    fn one_cycle_waits_for_each_that_runs() {
        assert_eq!((in_flight(0), in_flight(1), in_flight(100), in_flight(u32::MAX)), (2, 2, 200, u32::MAX));
    }

    #[test]
    fn every_profile_has_at_least_one_slot() {
        assert_eq!(share_cap(0, 25), 1);
        assert_eq!(share_cap(3, 25), 1);
        assert_eq!(share_cap(400, 25), 100);
        assert_eq!(share_cap(u32::MAX, 100), u32::MAX);
    }
}

//! Times for people: how long ago or ahead, and exactly, in the zone of the person's machine.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How far a time lies from now: `3 min ago`, `in 2 h`.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = time.as_second() - now.as_second();
    match seconds {
        -1..=1 => "now".to_owned(),
        2.. => format!("in {}", lasting(seconds)),
        _ => format!("{} ago", lasting(-seconds)),
    }
}

/// A length of time in seconds in its largest unit, rounded down: `42 s`, `5 min`, `3 h`, `12 days`, `3 years`.
pub fn lasting(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800..63_072_000 => format!("{} days", seconds / 86_400),
        _ => format!("{} years", seconds / 31_536_000),
    }
}

/// The time itself: `2026-11-22 14:05:09 +01:00`.
pub fn exact(time: Timestamp) -> String {
    exact_in(time, TimeZone::system())
}

fn exact_in(time: Timestamp, zone: TimeZone) -> String {
    time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn times_are_told_by_their_distance_in_one_unit() {
        let now = at(1_000_000);
        for (offset, said) in [
            (0, "now"),
            (-59, "59 s ago"),
            (-119, "119 s ago"),
            (-120, "2 min ago"),
            (-7_199, "119 min ago"),
            (-7_200, "2 h ago"),
            (-200_000, "2 days ago"),
            (-70_000_000, "2 years ago"),
            (90, "in 90 s"),
            (300, "in 5 min"),
        ] {
            assert_eq!(ago(at(1_000_000 + offset), now), said);
        }
    }

    #[test]
    fn the_exact_time_names_its_offset() {
        assert_eq!(exact_in(at(0), TimeZone::UTC), "1970-01-01 00:00:00 +00:00");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(exact_in(at(0), zone), "1970-01-01 02:00:00 +02:00");
    }
}

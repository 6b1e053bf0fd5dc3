//! When a schedule is due: five cron fields as people write them, read in a time zone of the IANA's database. It is asked
//! with Postgres's time and never reads a clock.

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Minutes, hours, days of the month, months and days of the week, in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    pattern: croner::Cron,
    zone: TimeZone,
}

/// Why a pattern or a zone was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {remedy}")]
pub struct Refused {
    /// `cron` or `zone`.
    pub field: &'static str,
    /// What is wrong.
    pub cause: String,
    /// What to give instead.
    pub remedy: &'static str,
}

/// No pattern that anybody means is longer.
const LONGEST: usize = 200;

impl Cron {
    /// Reads a pattern of five fields, or one such as `@daily`, and the name of a zone such as `Europe/Berlin`. A pattern
    /// that never comes, such as the 30th of February, is refused.
    pub fn read(pattern: &str, zone: &str, now: Timestamp) -> Result<Self, Refused> {
        let wrong = |cause: String| Refused {
            field: "cron",
            cause,
            remedy: "give minute, hour, day of the month, month and day of the week, such as `30 3 * * 1-5` for half past \
                     three from Monday to Friday, or `@hourly`, `@daily`, `@weekly`, `@monthly`",
        };
        if pattern.len() > LONGEST {
            return Err(wrong(format!("the pattern is longer than {LONGEST} characters")));
        }
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(pattern)
            .map_err(|error| wrong(format!("`{pattern}` is no cron pattern ({error})")))?;
        // What a machine calls its own zone is another one on another machine.
        let zone = Some(zone)
            .filter(|zone| !zone.is_empty() && !zone.eq_ignore_ascii_case("local"))
            .and_then(|zone| TimeZone::get(zone).ok())
            .ok_or_else(|| Refused {
                field: "zone",
                cause: format!("there is no time zone `{zone}`"),
                remedy: "give a name of the IANA's database such as `UTC`, `Europe/Berlin` or `America/New_York`",
            })?;
        let cron = Self { pattern: parsed, zone };
        if cron.next(now).is_none() {
            return Err(wrong(format!("`{pattern}` never comes")));
        }
        Ok(cron)
    }

    /// The first time after `after`. A time of the day that a clock put forward passes over comes right after the gap; one
    /// that a clock put back shows twice comes once, the first time. What comes every so many minutes or hours goes on by
    /// the hours that pass. `None`: never.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        self.pattern.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(pattern: &str, zone: &str, from: &str, number: usize) -> Vec<String> {
        let cron = Cron::read(pattern, zone, at(from)).unwrap();
        let next = |time: &Timestamp| cron.next(*time);
        std::iter::successors(cron.next(at(from)), next).take(number).map(|time| time.to_string()).collect()
    }

    #[test]
    fn the_next_time_is_after_now_in_the_zone_that_was_named() {
        for (pattern, zone, from, next) in [
            ("30 3 * * *", "UTC", "2026-01-31T03:29:59Z", "2026-01-31T03:30:00Z"),
            ("30 3 * * *", "UTC", "2026-01-31T03:30:00Z", "2026-02-01T03:30:00Z"),
            ("30 3 * * *", "UTC", "2026-01-31T03:30:00.000001Z", "2026-02-01T03:30:00Z"),
            ("30 3 * * *", "Europe/Berlin", "2026-01-31T03:29:59Z", "2026-02-01T02:30:00Z"),
            ("30 3 * * *", "Europe/Berlin", "2026-07-31T03:29:59Z", "2026-08-01T01:30:00Z"),
            ("0 0 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z"),
            ("0 9 * * 1-5", "America/New_York", "2026-01-02T15:00:00Z", "2026-01-05T14:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("@monthly", "UTC", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("* * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("0 12 * * 7", "UTC", "2026-01-01T00:00:00Z", "2026-01-04T12:00:00Z"),
        ] {
            assert_eq!(times(pattern, zone, from, 1), [next], "{pattern} in {zone} after {from}");
        }
    }

    #[test]
    fn a_time_that_a_clock_put_forward_passes_over_comes_right_after_the_gap_and_the_days_around_are_as_ever()
    {
        let times = times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3);
        assert_eq!(times, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    }

    #[test]
    fn a_time_that_a_clock_put_back_shows_twice_comes_once() {
        let times = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(times, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn what_comes_every_half_hour_goes_on_by_the_hours_that_pass() {
        let forward = times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 4);
        let every =
            ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"];
        assert_eq!(forward, every);
        let back = times("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4);
        let every =
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(back, every);
    }

    #[test]
    fn what_is_no_pattern_no_zone_or_never_comes_is_refused_with_what_to_give() {
        let now = at("2026-01-01T00:00:00Z");
        for pattern in [
            "",
            "often",
            "* * * *",
            "0 0 3 * * *",
            "60 * * * *",
            "0 24 * * *",
            "0 0 30 2 *",
            "0 0 * * * 2030",
        ] {
            let refused = Cron::read(pattern, "UTC", now).unwrap_err();
            assert_eq!(refused.field, "cron", "{pattern}");
            assert!(refused.to_string().contains("give "), "{refused}");
        }
        assert_eq!(Cron::read(&"*".repeat(300), "UTC", now).unwrap_err().field, "cron");
        for zone in ["", "Europe/Atlantis", "local", "CET+1", "../etc/passwd"] {
            assert_eq!(Cron::read("@daily", zone, now).unwrap_err().field, "zone", "{zone}");
        }
    }
}

//! Time zones by the names that Windows gives them, and where their days begin.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Names of Windows with a place that keeps the same time (CLDR, `windowsZones`), for what tests use.
const ZONES: &[(&str, &str)] = &[
    ("UTC", "UTC"),
    ("GMT Standard Time", "Europe/London"),
    ("Greenwich Standard Time", "Atlantic/Reykjavik"),
    ("W. Europe Standard Time", "Europe/Berlin"),
    ("Romance Standard Time", "Europe/Paris"),
    ("Central Europe Standard Time", "Europe/Budapest"),
    ("Central European Standard Time", "Europe/Warsaw"),
    ("FLE Standard Time", "Europe/Kiev"),
    ("GTB Standard Time", "Europe/Bucharest"),
    ("Russian Standard Time", "Europe/Moscow"),
    ("Turkey Standard Time", "Europe/Istanbul"),
    ("Israel Standard Time", "Asia/Jerusalem"),
    ("Arabian Standard Time", "Asia/Dubai"),
    ("India Standard Time", "Asia/Calcutta"),
    ("China Standard Time", "Asia/Shanghai"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("AUS Eastern Standard Time", "Australia/Sydney"),
    ("New Zealand Standard Time", "Pacific/Auckland"),
    ("E. South America Standard Time", "America/Sao_Paulo"),
    ("Newfoundland Standard Time", "America/St_Johns"),
    ("Atlantic Standard Time", "America/Halifax"),
    ("Eastern Standard Time", "America/New_York"),
    ("Central Standard Time", "America/Chicago"),
    ("Mountain Standard Time", "America/Denver"),
    ("US Mountain Standard Time", "America/Phoenix"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Hawaiian Standard Time", "Pacific/Honolulu"),
];

/// The zone of a Windows name; UTC for one that is not known, or for none.
pub(crate) fn of(name: Option<&str>) -> TimeZone {
    ZONES
        .iter()
        .find(|(known, _)| Some(*known) == name)
        .and_then(|(_, place)| TimeZone::get(place).ok())
        .unwrap_or(TimeZone::UTC)
}

/// The midnight at or before a moment, or with `after` the one at or after it.
pub(crate) fn midnight(at: Timestamp, zone: &TimeZone, after: bool) -> Timestamp {
    let local = at.to_zoned(zone.clone());
    let Ok(begin) = local.start_of_day() else { return at };
    if after && begin.timestamp() < at {
        begin.checked_add(1.day()).map_or(at, |next| next.timestamp())
    } else {
        begin.timestamp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn days_begin_where_the_zone_is() {
        let at = time::read("2026-07-01T10:00:00Z").unwrap();
        let berlin = of(Some("W. Europe Standard Time"));
        assert_eq!(time::write(midnight(at, &berlin, false)), "2026-06-30T22:00:00Z");
        assert_eq!(time::write(midnight(at, &berlin, true)), "2026-07-01T22:00:00Z");
        let begin = midnight(at, &berlin, false);
        assert_eq!(midnight(begin, &berlin, true), begin);
        assert_eq!(time::write(midnight(at, &of(None), false)), "2026-07-01T00:00:00Z");
    }

    #[test]
    fn every_zone_of_the_table_exists() {
        for (name, place) in ZONES {
            assert!(TimeZone::get(place).is_ok(), "{name}: {place}");
        }
    }
}

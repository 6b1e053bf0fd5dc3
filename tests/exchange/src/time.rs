//! Moments as Exchange writes and reads them: UTC, whole seconds, `Z`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// `2026-11-22T21:17:47Z`.
pub(crate) fn write(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads `xs:dateTime` and `xs:date`, with and without an offset; without one it is UTC.
pub(crate) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let date = text.trim_end_matches('Z');
    // A date may carry an offset too, which says nothing of a whole day.
    let day = date.get(..10).filter(|_| !date.contains('T'));
    let civil: DateTime = match day {
        Some(day) => day.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
        None => date.parse().ok()?,
    };
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned: Zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_and_written_in_one() {
        for text in [
            "2026-11-22T10:00:00Z",
            "2026-11-22T11:00:00+01:00",
            "2026-11-22T10:00:00.000",
            "2026-11-22T10:00:00",
        ] {
            assert_eq!(read(text).map(write).as_deref(), Some("2026-11-22T10:00:00Z"), "{text}");
        }
        for text in ["2026-11-22", "2026-11-22Z", "2026-11-22+01:00"] {
            assert_eq!(read(text).map(write).as_deref(), Some("2026-11-22T00:00:00Z"), "{text}");
        }
        assert_eq!(read("yesterday"), None);
    }
}

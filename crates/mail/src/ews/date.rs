//! Times as servers write them, which is not always as XML Schema wants them (`xs:dateTime`, XML Schema part 2 section
//! 3.2.7): with up to nine digits of a second or more, without a zone, or without a time.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Reads a time. Without a zone it is UTC, which is what those servers mean.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let text = &shortened(text);
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let bare = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let time = match bare.parse::<DateTime>() {
        Ok(time) => time,
        Err(_) => bare.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
    };
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

/// The text without the digits of a second that nobody can count.
fn shortened(text: &str) -> String {
    let mut digits = None;
    text.chars()
        .filter(|character| match (digits, character) {
            (_, '.' | ',') => {
                digits = Some(0);
                true
            }
            (Some(count), '0'..='9') => {
                digits = Some(count + 1);
                count < 9
            }
            _ => {
                digits = None;
                true
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_servers_write_them() {
        for (text, expected) in [
            ("2026-11-22T21:17:45Z", Some("2026-11-22T21:17:45Z")),
            (" 2026-11-22T21:17:45Z\n", Some("2026-11-22T21:17:45Z")),
            ("2026-11-22T22:17:45+01:00", Some("2026-11-22T21:17:45Z")),
            ("2026-11-22T21:17:45", Some("2026-11-22T21:17:45Z")),
            ("2026-11-22T21:17:45.5", Some("2026-11-22T21:17:45.5Z")),
            ("2026-11-22T21:17:45.123456789Z", Some("2026-11-22T21:17:45.123456789Z")),
            ("2026-11-22T21:17:45.1234567891234Z", Some("2026-11-22T21:17:45.123456789Z")),
            ("2026-11-22T21:17:45.123456789012+00:00", Some("2026-11-22T21:17:45.123456789Z")),
            ("2026-11-22", Some("2026-11-22T00:00:00Z")),
            ("2026-11-22Z", Some("2026-11-22T00:00:00Z")),
            ("2026-11-22t21:17:45z", Some("2026-11-22T21:17:45Z")),
            ("2026-11-22 21:17:45", Some("2026-11-22T21:17:45Z")),
            ("", None),
            ("yesterday", None),
            ("2026-13-22T21:17:45Z", None),
            ("2026-11-22T25:17:45Z", None),
            ("99999-11-22T21:17:45Z", None),
        ] {
            assert_eq!(parse(text), expected.map(|time| time.parse().unwrap()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_back_however_much_is_left_out(
            second in -62_135_596_800_i64..253_402_207_200,
            nanosecond in 0_i32..1_000_000_000,
            more in "[0-9]{0,12}",
            hours in -12_i32..=12,
        ) {
            let whole = Timestamp::from_second(second).unwrap();
            let exact = Timestamp::new(second, nanosecond).unwrap();
            let civil = TimeZone::UTC.to_datetime(whole);
            prop_assert_eq!(parse(&format!("{civil}")), Some(whole));
            prop_assert_eq!(parse(&format!("{civil}.{nanosecond:09}{more}")), Some(exact));
            prop_assert_eq!(parse(&format!("{civil}.{nanosecond:09}{more}Z")), Some(exact));
            let sign = if hours < 0 { '-' } else { '+' };
            let zoned = format!("{civil}.{nanosecond:09}{sign}{:02}:30", hours.abs());
            let offset = i64::from(hours.abs()) * 3600 + 1800;
            let expected = second + if hours < 0 { offset } else { -offset };
            if let Ok(expected) = Timestamp::new(expected, nanosecond) {
                prop_assert_eq!(parse(&zoned), Some(expected));
            }
        }

        #[test]
        fn no_text_makes_it_fail(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn nearly_a_time_does_not_make_it_fail(text in "[0-9TZ:.,+\\- ]{0,70}") {
            let _ = parse(&text);
        }
    }
}

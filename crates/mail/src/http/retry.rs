//! When to come back (RFC 9110 section 10.2.3).

use std::time::Duration;

use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// In seconds, or up to a date: by the clock of the server that names it, and so not at all where it has none.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = date(headers, &RETRY_AFTER)?.as_second() - date(headers, &DATE)?.as_second();
    u64::try_from(until).ok().map(Duration::from_secs)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get(name)?.as_bytes().trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_taken_and_a_date_counts_from_the_servers_own() {
        for (after, date, expected) in [
            (Some("7"), None, Some(7)),
            (Some(" 120 "), None, Some(120)),
            (Some("-1"), None, None),
            (Some("soon"), None, None),
            (None, Some("Fri, 31 Dec 2027 23:59:59 GMT"), None),
            (Some("Fri, 31 Dec 2027 23:59:59 GMT"), None, None),
            (Some("Fri, 31 Dec 2027 23:59:59 GMT"), Some("Fri, 31 Dec 2027 23:59:29 GMT"), Some(30)),
            (Some("Fri, 31 Dec 2027 23:59:59 GMT"), Some("Sat, 01 Jan 2028 00:00:00 GMT"), None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(RETRY_AFTER, after), (DATE, date)] {
                if let Some(value) = value {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{after:?} {date:?}");
        }
    }
}

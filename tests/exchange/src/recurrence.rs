//! Recurrence patterns and ranges, as a list of days. The time of day is that of the master where its time zone is.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/recurrence-recurrencetype>

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::item::Item;
use crate::time;
use crate::xml::Element;
use crate::zone;

/// The most occurrences that a series without an end is unfolded to.
const MOST: u64 = 1000;

pub(crate) struct Pattern {
    days: Vec<Date>,
    of_day: Time,
    zone: TimeZone,
    ends: bool,
}

impl Pattern {
    /// Of a recurring master; `None` for any other item.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        let recurrence = item.field("Recurrence")?;
        let start = item.field_text("Start").and_then(time::read)?;
        let zone = zone::of(item.field("StartTimeZone").and_then(|zone| zone.value("Id")));
        let of_day = start.to_zoned(zone.clone()).time();
        let mut range = None;
        let mut rule = None;
        for part in &recurrence.children {
            if part.name.ends_with("Recurrence") && part.child("StartDate").is_some() {
                range = Some(part);
            } else {
                rule = Some(part);
            }
        }
        let (range, rule) = (range?, rule?);
        let date = |name: &str| range.child_text(name).and_then(date);
        let first = date("StartDate")?;
        let last = date("EndDate");
        let count = range.child_text("NumberOfOccurrences").and_then(|count| count.trim().parse().ok());
        let most = usize::try_from(count.unwrap_or(MOST).min(MOST)).unwrap_or_default();
        let days = days(rule, first, last, most);
        Some(Self { days, of_day, zone, ends: last.is_some() || count.is_some() })
    }

    /// When the occurrence of that index begins.
    pub(crate) fn start(&self, index: u64) -> Option<Timestamp> {
        let day = self.days.get(usize::try_from(index.checked_sub(1)?).ok()?)?;
        Some(day.to_datetime(self.of_day).to_zoned(self.zone.clone()).ok()?.timestamp())
    }

    /// The index of the last one, if the series ends.
    pub(crate) fn last(&self) -> Option<u64> {
        self.ends.then_some(u64::try_from(self.days.len()).ok()?).filter(|last| *last > 0)
    }
}

fn days(rule: &Element, first: Date, last: Option<Date>, most: usize) -> Vec<Date> {
    let number = |name: &str, otherwise: i64| -> i64 {
        rule.child_text(name).and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
    };
    let interval = number("Interval", 1).max(1);
    let weekdays = weekdays(rule.child_text("DaysOfWeek").unwrap_or_default());
    let week_begins = rule.child_text("FirstDayOfWeek").and_then(weekday).unwrap_or(Weekday::Sunday);
    let mut days = Vec::new();
    let end = last.unwrap_or(Date::MAX);
    let mut step = 0;
    // Each turn is a period of the pattern: a day, a week, a month or a year.
    while days.len() < most && step < 20_000 {
        let of_period: Vec<Date> = match rule.name.as_str() {
            "DailyRecurrence" => first.checked_add((step * interval).days()).into_iter().collect(),
            "WeeklyRecurrence" => {
                let back = i64::from(first.weekday().since(week_begins));
                let week = first
                    .checked_sub(back.days())
                    .and_then(|week| week.checked_add((step * interval * 7).days()));
                let week = week.into_iter();
                week.flat_map(|week| (0..7).filter_map(move |day: i64| week.checked_add(day.days()).ok()))
                    .filter(|day| weekdays.contains(&day.weekday()))
                    .collect()
            }
            "AbsoluteMonthlyRecurrence" => month(first, step * interval)
                .and_then(|month| in_month(month, number("DayOfMonth", 1)))
                .into_iter()
                .collect(),
            "RelativeMonthlyRecurrence" => month(first, step * interval)
                .and_then(|month| nth(month, &weekdays, rule.child_text("DayOfWeekIndex")))
                .into_iter()
                .collect(),
            "AbsoluteYearlyRecurrence" | "RelativeYearlyRecurrence" => {
                let named = rule.child_text("Month").and_then(of_month).unwrap_or(1);
                let year = i64::from(first.year()) + step * interval;
                let month = i16::try_from(year).ok().and_then(|year| Date::new(year, named, 1).ok());
                let day = month.and_then(|month| match rule.name.as_str() {
                    "AbsoluteYearlyRecurrence" => in_month(month, number("DayOfMonth", 1)),
                    _ => nth(month, &weekdays, rule.child_text("DayOfWeekIndex")),
                });
                day.into_iter().collect()
            }
            _ => vec![first],
        };
        if of_period.iter().any(|day| *day > end) && of_period.iter().all(|day| *day > end) {
            break;
        }
        days.extend(of_period.into_iter().filter(|day| *day >= first && *day <= end));
        if rule.name.ends_with("Regeneration") {
            break;
        }
        step += 1;
    }
    days.truncate(most);
    days
}

fn month(first: Date, months: i64) -> Option<Date> {
    first.first_of_month().checked_add(months.months()).ok()
}

/// The day of a month, or its last one when it is shorter.
fn in_month(month: Date, day: i64) -> Option<Date> {
    let day = day.clamp(1, i64::from(month.days_in_month()));
    Date::new(month.year(), month.month(), i8::try_from(day).ok()?).ok()
}

fn nth(month: Date, weekdays: &[Weekday], index: Option<&str>) -> Option<Date> {
    let days = (1..=month.days_in_month()).filter_map(|day| Date::new(month.year(), month.month(), day).ok());
    let mut fitting = days.filter(|day| weekdays.contains(&day.weekday()));
    match index.map(str::trim) {
        Some("Second") => fitting.nth(1),
        Some("Third") => fitting.nth(2),
        Some("Fourth") => fitting.nth(3),
        Some("Last") => fitting.next_back(),
        _ => fitting.next(),
    }
}

fn weekdays(text: &str) -> Vec<Weekday> {
    const WEEK: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
    text.split_whitespace()
        .flat_map(|name| match name {
            "Day" => [&WEEK[..], &[Weekday::Saturday, Weekday::Sunday]].concat(),
            "Weekday" => WEEK.to_vec(),
            "WeekendDay" => vec![Weekday::Saturday, Weekday::Sunday],
            name => weekday(name).into_iter().collect(),
        })
        .collect()
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name.trim() {
        "Monday" => Weekday::Monday,
        "Tuesday" => Weekday::Tuesday,
        "Wednesday" => Weekday::Wednesday,
        "Thursday" => Weekday::Thursday,
        "Friday" => Weekday::Friday,
        "Saturday" => Weekday::Saturday,
        "Sunday" => Weekday::Sunday,
        _ => return None,
    })
}

fn of_month(name: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let at = MONTHS.iter().position(|month| *month == name.trim())?;
    i8::try_from(at + 1).ok()
}

/// A date that may carry an offset.
fn date(text: &str) -> Option<Date> {
    text.trim().get(..10)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(xml: &str) -> Element {
        Element::parse(xml).unwrap()
    }

    #[test]
    fn each_pattern_unfolds_to_its_days() {
        let first: Date = "2026-11-02".parse().unwrap();
        for (xml, expected) in [
            (
                "<DailyRecurrence><Interval>3</Interval></DailyRecurrence>",
                ["2026-11-02", "2026-11-05", "2026-11-08"],
            ),
            (
                "<WeeklyRecurrence><Interval>2</Interval><DaysOfWeek>Monday Friday</DaysOfWeek></WeeklyRecurrence>",
                ["2026-11-02", "2026-11-06", "2026-11-16"],
            ),
            (
                "<AbsoluteMonthlyRecurrence><Interval>1</Interval><DayOfMonth>31</DayOfMonth></AbsoluteMonthlyRecurrence>",
                ["2026-11-30", "2026-12-31", "2027-01-31"],
            ),
            (
                "<RelativeMonthlyRecurrence><Interval>1</Interval><DaysOfWeek>Weekday</DaysOfWeek>\
                 <DayOfWeekIndex>Last</DayOfWeekIndex></RelativeMonthlyRecurrence>",
                ["2026-11-30", "2026-12-31", "2027-01-29"],
            ),
            (
                "<AbsoluteYearlyRecurrence><DayOfMonth>29</DayOfMonth><Month>February</Month></AbsoluteYearlyRecurrence>",
                ["2027-02-28", "2028-02-29", "2029-02-28"],
            ),
        ] {
            let days: Vec<String> = days(&rule(xml), first, None, 3).iter().map(Date::to_string).collect();
            assert_eq!(days, expected, "{xml}");
        }
        let until = days(
            &rule("<DailyRecurrence><Interval>1</Interval></DailyRecurrence>"),
            first,
            Some("2026-11-04".parse().unwrap()),
            100,
        );
        assert_eq!(until.len(), 3);
    }
}

//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getservertimezones-operation>: a few
//! zones by their Windows names.

use crate::soap;
use crate::xml::Element;

/// The month in which daylight saving time begins and on which Sunday of it, and the same of its end.
type Saving = (u8, &'static str, u8, &'static str);

/// Windows name, display name, bias from UTC in minutes, and whether there is daylight saving time as in Europe or in
/// America.
const ZONES: [(&str, &str, i32, Option<Saving>); 7] = [
    ("UTC", "(UTC) Coordinated Universal Time", 0, None),
    ("GMT Standard Time", "(UTC+00:00) Dublin, Edinburgh, Lisbon, London", 0, EUROPE),
    ("W. Europe Standard Time", "(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", -60, EUROPE),
    ("Romance Standard Time", "(UTC+01:00) Brussels, Copenhagen, Madrid, Paris", -60, EUROPE),
    ("Eastern Standard Time", "(UTC-05:00) Eastern Time (US & Canada)", 300, AMERICA),
    ("Pacific Standard Time", "(UTC-08:00) Pacific Time (US & Canada)", 480, AMERICA),
    ("India Standard Time", "(UTC+05:30) Chennai, Kolkata, Mumbai, New Delhi", -330, None),
];

/// From the last Sunday of March to the last of October.
const EUROPE: Option<Saving> = Some((3, "-1", 10, "-1"));
/// From the second Sunday of March to the first of November.
const AMERICA: Option<Saving> = Some((3, "2", 11, "1"));

pub(super) fn answer(request: &Element) -> Element {
    let full = request.value("ReturnFullTimeZoneData").is_none_or(crate::xml::truth);
    let wanted: Option<Vec<&str>> =
        request.child("Ids").map(|ids| ids.children.iter().map(|id| id.text.trim()).collect());
    let zones = ZONES
        .iter()
        .filter(|(id, ..)| wanted.as_ref().is_none_or(|wanted| wanted.contains(id)))
        .map(|(id, name, bias, saving)| definition(id, name, *bias, *saving, full));
    let zones = Element::m("TimeZoneDefinitions").with_all(zones);
    soap::answer("GetServerTimeZones", vec![Ok(vec![zones])], &[])
}

fn definition(id: &str, name: &str, bias: i32, saving: Option<Saving>, full: bool) -> Element {
    let element = Element::t("TimeZoneDefinition").attribute("Name", name).attribute("Id", id);
    if !full {
        return element;
    }
    let period = |kind: &str, bias: i32| {
        Element::t("Period")
            .attribute("Bias", duration(bias))
            .attribute("Name", kind)
            .attribute("Id", format!("trule:Microsoft/Registry/{id}/2007-{kind}"))
    };
    let to = |kind: &str, id: &str| Element::text("To", id).attribute("Kind", kind);
    let standard = format!("trule:Microsoft/Registry/{id}/2007-Standard");
    let daylight = format!("trule:Microsoft/Registry/{id}/2007-Daylight");
    let mut periods = Element::t("Periods").with(period("Standard", bias));
    let mut group = Element::t("TransitionsGroup").attribute("Id", 0);
    if let Some((begins, begin, ends, end)) = saving {
        periods = periods.with(period("Daylight", bias - 60));
        let day = |target: &str, offset: &str, month: u8, nth: &str| {
            Element::t("RecurringDayTransition")
                .with(to("Period", target))
                .with(Element::text("TimeOffset", offset))
                .with(Element::text("Month", month))
                .with(Element::text("DayOfWeek", "Sunday"))
                .with(Element::text("Occurrence", nth))
        };
        group = group.with(day(&daylight, "PT2H", begins, begin)).with(day(&standard, "PT3H", ends, end));
    } else {
        group = group.with(Element::t("Transition").with(to("Period", &standard)));
    }
    element
        .with(periods)
        .with(Element::t("TransitionsGroups").with(group))
        .with(Element::t("Transitions").with(Element::t("Transition").with(to("Group", "0"))))
}

/// `xs:duration` of minutes.
fn duration(minutes: i32) -> String {
    let sign = if minutes < 0 { "-" } else { "" };
    let minutes = minutes.abs();
    match (minutes / 60, minutes % 60) {
        (hours, 0) => format!("{sign}PT{hours}H"),
        (hours, rest) => format!("{sign}PT{hours}H{rest}M"),
    }
}

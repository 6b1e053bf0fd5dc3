//! What Exchange adds to an item of its class when it is saved, and what it keeps true of it.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::item::{Item, mailbox};
use crate::mailbox::Mailbox;
use crate::mime;
use crate::schema::Kind;
use crate::soap::Refusal;
use crate::time;
use crate::xml::{Element, truth};
use crate::zone;

/// Completes an item that was created or changed.
pub(crate) fn complete(item: &mut Item, owner: &Mailbox, now: Timestamp) -> Result<(), Refusal> {
    match item.kind() {
        Kind::Calendar => calendar(item, owner, now)?,
        Kind::Contact => {
            if item.field("FileAs").is_none() {
                let name = item.field_text("DisplayName").unwrap_or_default().to_owned();
                item.set_text("FileAs", name);
            }
            let text = |name: &str| item.field_text(name).unwrap_or_default().to_owned();
            let full = match text("DisplayName") {
                name if name.is_empty() => {
                    format!("{} {}", text("GivenName"), text("Surname")).trim().to_owned()
                }
                name => name,
            };
            let mut complete = Element::t("CompleteName");
            for (part, from) in
                [("FirstName", "GivenName"), ("MiddleName", "MiddleName"), ("LastName", "Surname")]
            {
                if !text(from).is_empty() {
                    complete = complete.with(Element::text(part, text(from)));
                }
            }
            let complete = complete.with(Element::text("FullName", &full));
            item.set(complete);
            item.set_text("ContactSource", "Store");
            if item.field("Subject").is_none() {
                item.set_text("Subject", full);
            }
        }
        Kind::List => item.set_text("ContactSource", "Store"),
        Kind::Task => task(item, owner, now),
        _ => {}
    }
    Ok(())
}

fn task(item: &mut Item, owner: &Mailbox, now: Timestamp) {
    let status = item.field_text("Status").unwrap_or("NotStarted").to_owned();
    let percent: f64 =
        item.field_text("PercentComplete").and_then(|text| text.parse().ok()).unwrap_or_default();
    // Status and percentage follow each other: the one that says that it is done wins.
    let complete = status == "Completed" || percent >= 100.0;
    item.set_text("Status", if complete { "Completed" } else { &status });
    item.set_text("PercentComplete", if complete { "100".to_owned() } else { format!("{percent}") });
    item.set_text("IsComplete", complete);
    if complete && item.field("CompleteDate").is_none() {
        item.set_text("CompleteDate", time::write(now));
    }
    if !complete {
        item.remove("CompleteDate");
    }
    let recurring = item.field("Recurrence").is_some();
    item.set_text("IsRecurring", recurring);
    item.set_text("IsTeamTask", false);
    item.set_text("IsAssignmentEditable", true);
    item.set_text("DelegationState", "NoMatch");
    item.set_text("Owner", &owner.name);
    let count = item.changes.len() + 1;
    item.set_text("ChangeCount", count);
    item.set_text(
        "StatusDescription",
        match status.as_str() {
            _ if complete => "Completed",
            "InProgress" => "In Progress",
            "WaitingOnOthers" => "Waiting on someone else",
            "Deferred" => "Deferred",
            _ => "Not Started",
        },
    );
}

fn calendar(item: &mut Item, owner: &Mailbox, now: Timestamp) -> Result<(), Refusal> {
    let moment = |item: &Item, name: &str| item.field_text(name).and_then(time::read);
    let start = moment(item, "Start").unwrap_or(now);
    let end = moment(item, "End").unwrap_or(start + SignedDuration::from_mins(30));
    if end < start {
        return Err(Refusal::of(
            "ErrorCalendarEndDateIsEarlierThanStartDate",
            "EndDate is earlier than StartDate",
        ));
    }
    let (start, end) = if item.field_text("IsAllDayEvent").is_some_and(truth) {
        // A whole day is one where the event is.
        let zone = |name: &str| zone::of(item.field(name).and_then(|zone| zone.value("Id")));
        (
            zone::midnight(start, &zone("StartTimeZone"), false),
            zone::midnight(end, &zone("EndTimeZone"), true),
        )
    } else {
        (start, end)
    };
    item.set_text("Start", time::write(start));
    item.set_text("End", time::write(end));
    if item.field_text("UID").is_none_or(str::is_empty) {
        // The global object id that Outlook writes.
        let uid = format!("040000008200E00074C5B7101A82E008{}", mime::hex(&item.search_key).to_uppercase());
        item.set_text("UID", uid);
    }
    let attendees = ["RequiredAttendees", "OptionalAttendees", "Resources"]
        .iter()
        .any(|name| !item.people(name).is_empty());
    let recurring = item.field("Recurrence").is_some();
    for (name, value) in [
        ("IsAllDayEvent", "false"),
        ("LegacyFreeBusyStatus", "Busy"),
        ("IsCancelled", "false"),
        ("MeetingRequestWasSent", "false"),
        ("IsResponseRequested", "true"),
        ("ConferenceType", "0"),
        ("AllowNewTimeProposal", "true"),
        ("AppointmentSequenceNumber", "0"),
        ("IsOnlineMeeting", "false"),
    ] {
        if item.field(name).is_none() {
            item.set_text(name, value);
        }
    }
    item.set_text("IsMeeting", attendees);
    item.set_text("IsRecurring", item.occurrence_of.is_some());
    let kind = if recurring {
        "RecurringMaster"
    } else if item.occurrence_of.is_some() {
        "Exception"
    } else {
        "Single"
    };
    item.set_text("CalendarItemType", kind);
    item.set_text("AppointmentState", u8::from(attendees));
    if item.field("MyResponseType").is_none() {
        item.set_text("MyResponseType", if attendees { "Organizer" } else { "Unknown" });
    }
    if item.field("Organizer").is_none() {
        item.set(Element::t("Organizer").with(mailbox(&owner.name, &owner.address)));
    }
    for name in ["RequiredAttendees", "OptionalAttendees", "Resources"] {
        let Some(list) = item.field(name).cloned() else { continue };
        let mut list = list;
        for attendee in &mut list.children {
            if attendee.child("ResponseType").is_none() {
                attendee.children.push(Element::text("ResponseType", "Unknown"));
            }
        }
        item.set(list);
    }
    let duration = end.duration_since(start);
    item.set_text("Duration", format_duration(duration.as_secs()));
    item.set_text("ConflictingMeetingCount", 0);
    item.set_text("AdjacentMeetingCount", 0);
    Ok(())
}

/// `xs:duration`.
fn format_duration(seconds: i64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes) = (rest / 3600, rest % 3600 / 60);
    let mut text = String::from("P");
    if days > 0 {
        let _ = write!(text, "{days}D");
    }
    if hours > 0 || minutes > 0 || days == 0 {
        text.push('T');
        if hours > 0 {
            let _ = write!(text, "{hours}H");
        }
        if minutes > 0 || hours == 0 {
            let _ = write!(text, "{minutes}M");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_the_schema_wants_it() {
        for (seconds, text) in
            [(0, "PT0M"), (5400, "PT1H30M"), (86_400, "P1D"), (90_000, "P1DT1H"), (3600, "PT1H")]
        {
            assert_eq!(format_duration(seconds), text);
        }
    }
}

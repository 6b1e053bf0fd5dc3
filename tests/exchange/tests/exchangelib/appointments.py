"""Appointments, meetings and series."""

import datetime

from common import UTC, account, anna, refused
from exchangelib import CalendarItem, EWSDate, EWSDateTime, EWSTimeZone
from exchangelib.errors import ErrorCalendarOccurrenceIsDeletedFromRecurrence
from exchangelib.items import SEND_ONLY_TO_ALL, SEND_TO_ALL_AND_SAVE_COPY, MeetingRequest
from exchangelib.recurrence import DailyPattern, Recurrence, WeeklyPattern

berlin = EWSTimeZone("Europe/Berlin")
start = EWSDateTime(2026, 12, 1, 10, tzinfo=berlin)
end = EWSDateTime(2026, 12, 1, 11, 30, tzinfo=berlin)
event = CalendarItem(account=anna, folder=anna.calendar, subject="Alone", start=start, end=end, location="Room 1")
event.save()
read = anna.calendar.get(subject="Alone")
assert read.start == start and read.end == end, (read.start, read.end)
assert read.location == "Room 1" and read.uid and read.type == "Single"
assert read.is_meeting is False and read.is_recurring is False
assert read.organizer.email_address == "anna@example.org"
assert read.duration == "PT1H30M", read.duration
read.end = EWSDateTime(2026, 12, 1, 12, tzinfo=berlin)
read.legacy_free_busy_status = "OOF"
read.save()
read = anna.calendar.get(subject="Alone")
assert read.end == EWSDateTime(2026, 12, 1, 11, tzinfo=UTC) and read.legacy_free_busy_status == "OOF"

day = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="All day",
    start=EWSDate(2026, 12, 2),
    end=EWSDate(2026, 12, 2),
    is_all_day=True,
)
day.save()
read = anna.calendar.get(subject="All day")
assert read.is_all_day and read.start == EWSDate(2026, 12, 2), (read.is_all_day, read.start)

# A series, its occurrences, and exceptions.
series = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="Daily",
    start=EWSDateTime(2026, 12, 7, 9, tzinfo=UTC),
    end=EWSDateTime(2026, 12, 7, 9, 15, tzinfo=UTC),
    recurrence=Recurrence(pattern=DailyPattern(interval=1), start=EWSDate(2026, 12, 7), number=4),
)
series.save()
master = anna.calendar.get(subject="Daily")
assert master.type == "RecurringMaster" and master.recurrence.boundary.number == 4, master
assert master.first_occurrence.start == EWSDateTime(2026, 12, 7, 9, tzinfo=UTC)
assert master.last_occurrence.start == EWSDateTime(2026, 12, 10, 9, tzinfo=UTC)
window = dict(start=EWSDateTime(2026, 12, 6, tzinfo=UTC), end=EWSDateTime(2026, 12, 20, tzinfo=UTC))
unfolded = list(anna.calendar.view(**window))
assert [item.start.day for item in unfolded] == [7, 8, 9, 10], unfolded
assert {item.type for item in unfolded} == {"Occurrence"}

second = master.occurrence(index=2)
second.refresh()
second.subject = "Daily, moved"
second.start += datetime.timedelta(hours=2)
second.end += datetime.timedelta(hours=2)
second.save()
master.occurrence(index=3).delete()
master.refresh()
(changed,) = master.modified_occurrences
assert changed.start == EWSDateTime(2026, 12, 8, 11, tzinfo=UTC), changed
(deleted,) = master.deleted_occurrences
assert deleted.start == EWSDateTime(2026, 12, 9, 9, tzinfo=UTC)
unfolded = {item.subject: item for item in anna.calendar.view(**window)}
assert unfolded["Daily, moved"].type == "Exception"
assert len(list(anna.calendar.view(**window))) == 3
refused(ErrorCalendarOccurrenceIsDeletedFromRecurrence, master.occurrence(index=3).refresh)
of = unfolded["Daily, moved"].recurring_master()
of.refresh()
assert of.id == master.id and of.subject == "Daily"
of = unfolded["Daily, moved"].recurring_master()
of.subject = "Every day"
of.save(update_fields=["subject"])
assert anna.calendar.get(subject="Every day").id == master.id

weekly = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="Weekly",
    start=EWSDateTime(2027, 1, 4, 9, tzinfo=UTC),
    end=EWSDateTime(2027, 1, 4, 10, tzinfo=UTC),
    recurrence=Recurrence(pattern=WeeklyPattern(interval=2, weekdays=[0, 2]), start=EWSDate(2027, 1, 4)),
)
weekly.recurrence.pattern.weekdays = ["Monday", "Wednesday"]
weekly.save()
view = anna.calendar.view(start=EWSDateTime(2027, 1, 1, tzinfo=UTC), end=EWSDateTime(2027, 1, 31, tzinfo=UTC))
assert [item.start.day for item in view] == [4, 6, 18, 20]

# A series keeps its time of day where it is, whatever the season.
seasonal = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="Seasonal",
    start=EWSDateTime(2027, 3, 26, 10, tzinfo=berlin),
    end=EWSDateTime(2027, 3, 26, 11, tzinfo=berlin),
    recurrence=Recurrence(pattern=DailyPattern(interval=3), start=EWSDate(2027, 3, 26), number=2),
)
seasonal.save()
view = anna.calendar.view(start=EWSDateTime(2027, 3, 20, tzinfo=UTC), end=EWSDateTime(2027, 4, 1, tzinfo=UTC))
assert [item.start for item in view if item.subject == "Seasonal"] == [
    EWSDateTime(2027, 3, 26, 9, tzinfo=UTC),
    EWSDateTime(2027, 3, 29, 8, tzinfo=UTC),
]

# A meeting: invited, answered, cancelled.
bert = account("bert@example.org")
meeting = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="Meeting",
    start=EWSDateTime(2027, 2, 1, 9, tzinfo=UTC),
    end=EWSDateTime(2027, 2, 1, 10, tzinfo=UTC),
    required_attendees=["bert@example.org"],
)
meeting.save(send_meeting_invitations=SEND_TO_ALL_AND_SAVE_COPY)
request = bert.inbox.get(subject="Meeting")
assert isinstance(request, MeetingRequest) and request.item_class == "IPM.Schedule.Meeting.Request"
assert request.start == meeting.start and request.author.email_address == "anna@example.org"
assert bert.calendar.get(subject="Meeting").my_response_type == "NoResponseReceived"
request.accept(body="With pleasure")
assert bert.calendar.get(subject="Meeting").my_response_type == "Accept"
answer = anna.inbox.get(subject="Accepted: Meeting")
assert answer.item_class == "IPM.Schedule.Meeting.Resp.Pos"
own = anna.calendar.get(subject="Meeting")
assert own.required_attendees[0].response_type == "Accept", own.required_attendees
own.delete(send_meeting_cancellations=SEND_ONLY_TO_ALL)
assert {item.item_class for item in bert.inbox.filter(subject="Meeting")} == {"IPM.Schedule.Meeting.Canceled"}
assert bert.calendar.get(subject="Meeting").is_cancelled
assert anna.calendar.filter(subject="Meeting").count() == 0

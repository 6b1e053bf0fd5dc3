"""Tasks: status, percentage and completion follow each other."""

from decimal import Decimal

from common import anna
from exchangelib import EWSDate, Task
from exchangelib.recurrence import DailyPattern, TaskRecurrence

task = Task(account=anna, folder=anna.tasks, subject="Bake", due_date=EWSDate(2026, 12, 24), start_date=EWSDate(2026, 12, 20))
task.save()
read = anna.tasks.get(subject="Bake")
assert read.status == "NotStarted" and read.percent_complete == 0 and read.is_complete is False, read
assert read.due_date == EWSDate(2026, 12, 24) and read.start_date == EWSDate(2026, 12, 20), (read.due_date, read.start_date)
read.percent_complete = Decimal(50)
read.status = "InProgress"
read.save()
read = anna.tasks.get(subject="Bake")
assert read.percent_complete == 50 and read.status == "InProgress" and read.status_description == "In Progress"
read.complete()
read = anna.tasks.get(subject="Bake")
assert read.is_complete and read.status == "Completed" and read.percent_complete == 100 and read.complete_date
assert anna.tasks.filter(subject="Bake").count() == 1

series = Task(
    account=anna,
    folder=anna.tasks,
    subject="Again",
    due_date=EWSDate(2026, 12, 24),
    recurrence=TaskRecurrence(pattern=DailyPattern(interval=2), start=EWSDate(2026, 12, 24), number=3),
)
series.save()
read = anna.tasks.get(subject="Again")
assert read.is_recurring and read.recurrence.pattern.interval == 2

changes = list(anna.tasks.sync_items(only_fields=["subject"]))
assert {item.subject for _, item in changes} == {"Bake", "Again"}
read.delete(affected_task_occurrences="AllOccurrences")
assert anna.tasks.all().count() == 1

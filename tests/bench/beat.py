"""celery's beat with entries that are all due every second: how many a second it gets rid of. Argument: entries."""

import os

from celery import Celery

app = Celery("beat", broker=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_default_queue="beat",
    beat_max_loop_interval=1,
    beat_schedule={
        f"mailbox {number}": {"task": "beat.nothing", "schedule": 1.0, "args": (number,)}
        for number in range(int(os.environ["ENTRIES"]))
    },
)


@app.task(name="beat.nothing")
def nothing(number):
    """What a worker would do."""

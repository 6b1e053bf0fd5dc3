"""Jobs that do nothing, acknowledged after they ran: celery."""

import os

from celery import Celery

app = Celery("empty", broker=os.environ["BROKER"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="empty",
    worker_prefetch_multiplier=100,
)


@app.task(name="empty.nothing")
def nothing(number):
    """A cycle with nothing to do."""


if __name__ == "__main__":
    with app.producer_or_acquire() as producer:
        for number in range(int(os.environ["JOBS"])):
            nothing.apply_async((number,), producer=producer)

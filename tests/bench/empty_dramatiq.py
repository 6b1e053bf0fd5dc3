"""Jobs that do nothing, acknowledged after they ran: dramatiq."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BROKER"], middleware=[]))


@dramatiq.actor(queue_name="empty")
def nothing(number):
    """A cycle with nothing to do."""


if __name__ == "__main__":
    for number in range(int(os.environ["JOBS"])):
        nothing.send(number)
    # In order: what is published without confirms can be lost with a connection that merely ends.
    dramatiq.get_broker().close()

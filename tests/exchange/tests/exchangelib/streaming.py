"""Notifications arrive over a connection that stays open, and by asking."""

import threading
import time

from common import account, anna
from exchangelib import Message
from exchangelib.errors import ErrorInvalidSubscription
from exchangelib.properties import CreatedEvent, DeletedEvent, ModifiedEvent, MovedEvent, NewMailEvent

from common import refused

bert = account("bert@example.org")


def listen(subscription_id, wanted, act):
    """Acts once the stream is open, and returns the events that came until `wanted` of them did."""
    timer = threading.Timer(0.3, act)
    timer.start()
    events = []
    for notification in anna.inbox.get_streaming_events(subscription_id, connection_timeout=1):
        assert notification.subscription_id == subscription_id
        events.extend(notification.events)
        if len(events) >= wanted:
            break
    timer.join()
    return events


with anna.inbox.streaming_subscription() as subscription_id:

    def send():
        Message(account=bert, subject="News", to_recipients=["anna@example.org"]).send()

    events = listen(subscription_id, 2, send)
    assert {type(event) for event in events} == {CreatedEvent, NewMailEvent}, events
    news = anna.inbox.get(subject="News")
    assert {event.item_id.id for event in events} == {news.id}
    assert {event.parent_folder_id.id for event in events} == {anna.inbox.id}

    def change():
        news.is_read = True
        news.save(update_fields=["is_read"])

    (event,) = listen(subscription_id, 1, change)
    assert isinstance(event, ModifiedEvent), event
    before = news.id
    (event,) = listen(subscription_id, 1, lambda: news.move(anna.trash))
    assert isinstance(event, MovedEvent) and event.old_item_id.id == before and event.item_id.id == news.id, event

    # What happened while nobody listened is told first.
    for number in range(3):
        Message(account=anna, folder=anna.inbox, subject=f"Meanwhile {number}").save()
    events = listen(subscription_id, 3, lambda: None)
    assert [type(event) for event in events] == [CreatedEvent] * 3, events
    anna.inbox.filter(subject="Meanwhile 1").delete()
    (event,) = listen(subscription_id, 1, lambda: None)
    assert isinstance(event, DeletedEvent)

refused(ErrorInvalidSubscription, lambda: list(anna.inbox.get_streaming_events(subscription_id, connection_timeout=1)))

# By asking.
with anna.inbox.pull_subscription() as (subscription_id, watermark):
    Message(account=bert, subject="Pulled", to_recipients=["anna@example.org"]).send()
    (notification,) = anna.inbox.get_events(subscription_id, watermark)
    assert {type(event) for event in notification.events} == {CreatedEvent, NewMailEvent}, notification
    assert notification.more_events is False

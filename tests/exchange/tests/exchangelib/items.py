"""Items are created, found, changed, moved, copied and deleted."""

import datetime

from common import anna, refused
from exchangelib import EWSDateTime, HTMLBody, Mailbox, Message, Q
from exchangelib.errors import DoesNotExist, ErrorItemNotFound
from exchangelib.items import HARD_DELETE

draft = Message(
    account=anna,
    folder=anna.drafts,
    subject="A draft",
    body=HTMLBody("<html><body>Hello <b>you</b></body></html>"),
    to_recipients=[Mailbox(name="Bert", email_address="bert@example.org")],
    bcc_recipients=["hidden@example.net"],
    categories=["Red", "Blue"],
    importance="High",
)
draft.save()
assert draft.id and draft.changekey
read = anna.drafts.get(id=draft.id)
assert read.is_draft
assert read.importance == "High" and set(read.categories) == {"Red", "Blue"}
assert read.bcc_recipients[0].email_address == "hidden@example.net"
assert "Hello <b>you</b>" in read.body
assert read.text_body.strip() == "Hello you", read.text_body
assert b"Subject: A draft" in read.mime_content

# A message as MIME.
mime = b"From: anna@example.org\r\nTo: bert@example.org\r\nMessage-ID: <own@example.org>\r\nSubject: As MIME\r\n\r\nText\r\n"
Message(account=anna, folder=anna.drafts, mime_content=mime).save()
assert anna.drafts.get(subject="As MIME").mime_content == mime
assert anna.drafts.get(subject="As MIME").message_id == "<own@example.org>"

# Changes.
old = read.changekey
read.subject = "Another subject"
read.is_read = True
read.categories = None
read.save()
assert read.changekey != old
again = anna.drafts.get(id=draft.id)
assert again.subject == "Another subject" and again.categories is None
assert b"Another subject" in again.mime_content

# Finding.
for number in range(25):
    Message(account=anna, folder=anna.junk, subject=f"Number {number:02}", body="x" * number, is_read=number % 2 == 0).save()
found = anna.junk.filter(subject__startswith="Number 1").order_by("-subject")
assert [item.subject for item in found] == [f"Number {number}" for number in range(19, 9, -1)]
assert anna.junk.filter(is_read=True).count() == 13
assert anna.junk.filter(Q(subject="Number 03") | Q(subject="Number 04")).count() == 2
assert anna.junk.filter(~Q(subject__contains="0")).count() == 13
assert anna.junk.exclude(subject__icontains="NUMBER").count() == 0
assert anna.junk.filter(subject__in=["Number 01", "Number 02", "none"]).count() == 2
now = datetime.datetime.now(tz=datetime.timezone.utc)
start = EWSDateTime.from_datetime(now - datetime.timedelta(hours=1))
assert anna.junk.filter(datetime_created__gt=start).count() == 25
assert anna.junk.filter(datetime_created__lt=start).count() == 0
assert anna.junk.all().order_by("subject")[10].subject == "Number 10"
assert [i.subject for i in anna.junk.all().order_by("subject")[3:5]] == ["Number 03", "Number 04"]
page = anna.junk.all().order_by("subject")
page.page_size = 7
assert len(list(page)) == 25
assert list(anna.junk.all().order_by("subject").values_list("subject", flat=True))[0] == "Number 00"
assert anna.junk.filter("subject:Number").count() == 25
refused(DoesNotExist, lambda: anna.junk.get(subject="none"))

# Moving gives another id; copying leaves the original.
item = anna.junk.get(subject="Number 00")
before = item.id
item.move(anna.trash)
assert item.id != before
assert anna.trash.get(subject="Number 00").id == item.id
assert anna.junk.filter(subject="Number 00").count() == 0
(moved,) = anna.fetch([(before, None)])
assert isinstance(moved, ErrorItemNotFound), moved
item.copy(anna.junk)
assert anna.junk.filter(subject="Number 00").count() == 1
assert anna.trash.filter(subject="Number 00").count() == 1

# Deleting.
anna.junk.get(subject="Number 05").move_to_trash()
assert anna.trash.filter(subject="Number 05").count() == 1
anna.junk.get(subject="Number 06").soft_delete()
assert anna.recoverable_items_deletions.filter(subject="Number 06").count() == 1
anna.junk.get(subject="Number 07").delete()
assert anna.trash.filter(subject="Number 07").count() == 0
anna.junk.all().delete(delete_type=HARD_DELETE)
assert anna.junk.all().count() == 0

"""Files and items are attached, read, streamed and detached."""

from common import anna, refused
from exchangelib import CalendarItem, EWSDateTime, FileAttachment, HTMLBody, ItemAttachment, Message
from exchangelib.errors import ErrorItemNotFound

from common import UTC

item = Message(account=anna, folder=anna.drafts, subject="With files", body="See", to_recipients=["bert@example.org"])
item.attach(FileAttachment(name="before.txt", content=b"attached before it was saved"))
item.save()
item.attach(FileAttachment(name="after.bin", content=bytes(range(256)) * 1000, content_type="application/x-test"))
image = FileAttachment(name="logo.png", content=b"png", is_inline=True, content_id="logo")
item.attach(image)
item.body = HTMLBody('<img src="cid:logo">')
item.save()

read = anna.drafts.get(subject="With files")
assert read.has_attachments
files = {attachment.name: attachment for attachment in read.attachments}
assert set(files) == {"before.txt", "after.bin", "logo.png"}, files
assert files["before.txt"].content == b"attached before it was saved"
assert files["after.bin"].content == bytes(range(256)) * 1000
assert files["after.bin"].content_type == "application/x-test"
assert files["logo.png"].is_inline and files["logo.png"].content_id == "logo"
with files["after.bin"].fp as stream:
    assert stream.read() == bytes(range(256)) * 1000
assert b"after.bin" in read.mime_content and b"cid:logo" in read.mime_content

# An item within an item.
inner = Message(subject="Inner", body="Inside", account=anna, folder=anna.drafts)
inner.save()
read.attach(ItemAttachment(name="Inner message", item=inner))
event = CalendarItem(
    account=anna,
    folder=anna.calendar,
    subject="Inner event",
    start=EWSDateTime(2026, 12, 1, 10, tzinfo=UTC),
    end=EWSDateTime(2026, 12, 1, 11, tzinfo=UTC),
)
event.save()
read.attach(ItemAttachment(name="Inner event", item=event))
read = anna.drafts.get(subject="With files")
items = {attachment.name: attachment for attachment in read.attachments if isinstance(attachment, ItemAttachment)}
assert items["Inner message"].item.subject == "Inner", items
assert items["Inner message"].item.body == "Inside"
assert items["Inner event"].item.start == EWSDateTime(2026, 12, 1, 10, tzinfo=UTC)

# Detaching.
read.detach([attachment for attachment in read.attachments if attachment.name == "before.txt"])
assert len(anna.drafts.get(subject="With files").attachments) == 4
gone = files["before.txt"]
gone._content = None
gone.parent_item = read
refused(Exception, lambda: gone.content)

# They travel.
read = anna.drafts.get(subject="With files")
read.send()
from common import account

bert = account("bert@example.org")
got = bert.inbox.get(subject="With files")
assert {attachment.name for attachment in got.attachments} >= {"after.bin"}, got.attachments
assert [a.content for a in got.attachments if a.name == "after.bin"] == [bytes(range(256)) * 1000]

# A message that was delivered with another in it.
bounced = anna.inbox.get(subject="Forwarded as a file")
(attached,) = bounced.attachments
assert isinstance(attached, ItemAttachment), attached
assert attached.item.subject == "The original" and attached.item.message_id == "<original@example.net>"

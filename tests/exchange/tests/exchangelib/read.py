"""Folders are listed and messages are read: what the test delivered is what exchangelib sees."""

from common import anna
from exchangelib import Message

inbox = anna.inbox
assert inbox.name == "Inbox", inbox.name
assert inbox.total_count == 3, inbox.total_count
assert inbox.unread_count == 3

names = {folder.name for folder in anna.root.walk()}
for name in ("Inbox", "Sent Items", "Drafts", "Calendar", "Contacts", "Tasks", "Deleted Items", "Top of Information Store"):
    assert name in names, (name, names)
for folder in (anna.sent, anna.drafts, anna.trash, anna.outbox, anna.junk, anna.calendar, anna.contacts, anna.tasks):
    assert folder.is_distinguished, folder
assert "Inbox" in anna.root.tree()

items = list(inbox.all().order_by("datetime_received"))
assert [item.subject for item in items] == ["First", "Zweite Nachricht ä", "Third"], items
first = items[0]
assert isinstance(first, Message)
assert first.sender.email_address == "carl@example.net"
assert first.author.name == "Carl Clark"
assert [to.email_address for to in first.to_recipients] == ["anna@example.org"]
assert first.message_id == "<first@example.net>", first.message_id
assert first.mime_content.endswith(b"Subject: First\r\n\r\nHello Anna\r\n"), first.mime_content
assert first.text_body.strip() == "Hello Anna", first.text_body
assert first.is_read is False and first.is_draft is False
assert first.datetime_received is not None and first.size > 0
assert {header.name for header in first.headers} >= {"From", "Subject", "Message-ID"}
second = inbox.get(subject="Zweite Nachricht ä")
assert second.body == "<p>Grüße</p>\r\n" or second.body.strip() == "<p>Grüße</p>", repr(second.body)
assert second.has_attachments and second.attachments[0].name == "a.txt"
assert second.attachments[0].content == b"file content"
assert anna.version.api_version == "Exchange2016", anna.version

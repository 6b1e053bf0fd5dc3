"""Messages are sent in each of the ways there are, answered and forwarded; what cannot be delivered comes back."""

from common import account, anna, refused
from exchangelib import Mailbox, Message
from exchangelib.errors import ErrorInvalidRecipients, ErrorSendAsDenied

bert = account("bert@example.org")


def one(folder, subject):
    return folder.get(subject=subject)


# Sent at once, kept and not kept.
Message(account=anna, subject="Not kept", body="Hi", to_recipients=["bert@example.org"]).send(save_copy=False)
assert one(bert.inbox, "Not kept").author.email_address == "anna@example.org"
assert anna.sent.filter(subject="Not kept").count() == 0

Message(
    account=anna,
    folder=anna.sent,
    subject="Kept",
    body="Hi",
    to_recipients=[Mailbox(name="Bert Ü", email_address="bert@example.org")],
    cc_recipients=["someone@example.net"],
    bcc_recipients=["carla@example.org"],
).send_and_save()
got, kept = one(bert.inbox, "Kept"), one(anna.sent, "Kept")
assert got.message_id == kept.message_id and got.message_id.startswith("<"), got.message_id
assert kept.bcc_recipients[0].email_address == "carla@example.org"
assert got.bcc_recipients is None and b"carla" not in got.mime_content
assert got.cc_recipients[0].email_address == "someone@example.net"
assert not kept.is_draft and kept.is_from_me
assert one(account("carla@example.org").inbox, "Kept").message_id == kept.message_id

# A draft that is sent: the draft is gone, the copy has another id.
draft = Message(account=anna, folder=anna.drafts, subject="Drafted", to_recipients=["bert@example.org"])
draft.save()
before = draft.id
draft.send()
assert anna.drafts.all().count() == 0
assert one(anna.sent, "Drafted").id != before
assert one(bert.inbox, "Drafted").is_read is False

# Answers.
got.reply(subject="RE: Kept", body="Thanks")
answer = one(anna.inbox, "RE: Kept")
assert answer.in_reply_to == kept.message_id, answer.in_reply_to
assert "Thanks" in answer.body
got.reply_all(subject="RE: Kept by all", body="Thanks all")
assert one(anna.inbox, "RE: Kept by all").cc_recipients[0].email_address == "someone@example.net"
got.forward(subject="FW: Kept", body="See", to_recipients=["carla@example.org"])
assert one(account("carla@example.org").inbox, "FW: Kept").author.email_address == "bert@example.org"

# What cannot be delivered.
Message(account=anna, subject="Into nothing", to_recipients=["nobody@example.org"]).send()
report = anna.inbox.get(subject="Undeliverable: Into nothing")
assert report.item_class == "REPORT.IPM.Note.NDR", report.item_class
assert b"Final-Recipient: rfc822;nobody@example.org" in report.mime_content
refused(ErrorInvalidRecipients, lambda: Message(account=anna, subject="To nobody").send())
refused(
    ErrorSendAsDenied,
    lambda: Message(account=anna, author="carla@example.org", subject="x", to_recipients=["bert@example.org"]).send(),
)

# A list reaches its members.
Message(account=anna, subject="To the team", to_recipients=["team@example.org"]).send()
assert one(bert.inbox, "To the team").to_recipients[0].email_address == "team@example.org"
assert one(account("carla@example.org").inbox, "To the team")

# The directory.
names = anna.protocol.resolve_names(["bert@example.org"])
assert names[0].email_address == "bert@example.org" and names[0].mailbox_type == "Mailbox", names
assert anna.protocol.resolve_names(["team@example.org"])[0].mailbox_type == "PublicDL"
assert anna.protocol.resolve_names(["dora@example.net"])[0].mailbox_type == "Contact"
assert anna.protocol.resolve_names(["bertie@example.org"])[0].email_address == "bert@example.org"
assert len(anna.protocol.resolve_names(["b"])) == 1
((mailbox, contact),) = anna.protocol.resolve_names(["bert"], return_full_contact_data=True)
assert contact.display_name == "Bert Brown", contact
members = anna.protocol.expand_dl("team@example.org")
assert {member.email_address for member in members} == {"bert@example.org", "carla@example.org"}

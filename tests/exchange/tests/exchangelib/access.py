"""Who may open whose mailbox: the owner, a delegate, a service that impersonates, and nobody else."""

from common import account, anna, impersonated, refused
from exchangelib import Message
from exchangelib.errors import (
    ErrorAccessDenied,
    ErrorImpersonateUserDenied,
    ErrorNonExistentMailbox,
    ErrorNonPrimarySmtpAddress,
    UnauthorizedError,
)

# A service account without a mailbox of its own impersonates.
bert = impersonated("bert@example.org")
assert bert.inbox.name == "Inbox"
Message(account=bert, folder=bert.sent, subject="By the service", to_recipients=["anna@example.org"]).send_and_save()
assert bert.sent.get(subject="By the service").author.email_address == "bert@example.org"
assert anna.inbox.get(subject="By the service").sender.email_address == "bert@example.org"

refused(ErrorNonExistentMailbox, lambda: impersonated("nobody@example.org").inbox)
refused(ErrorImpersonateUserDenied, lambda: impersonated("bert@example.org", service="other@example.org").inbox)
refused(ErrorNonPrimarySmtpAddress, lambda: impersonated("bertie@example.org").inbox)
refused(UnauthorizedError, lambda: account("anna@example.org", password="wrong").inbox)

# A delegate opens another's folders with the own login.
other = account("bert@example.org", login="anna@example.org")
assert other.inbox.name == "Inbox"
Message(account=other, folder=other.drafts, subject="By the delegate").save()
assert bert.drafts.get(subject="By the delegate")
refused(ErrorAccessDenied, lambda: list(account("carla@example.org", login="anna@example.org").inbox.all()))

# On behalf: the author is the mailbox, the sender is who did it.
message = Message(
    account=other,
    folder=other.sent,
    author="bert@example.org",
    subject="On behalf",
    to_recipients=["carla@example.org"],
)
message.send_and_save()
got = impersonated("carla@example.org").inbox.get(subject="On behalf")
assert got.author.email_address == "bert@example.org", got.author
assert got.sender.email_address == "anna@example.org", got.sender
assert other.sent.filter(subject="On behalf").count() == 1
assert anna.sent.filter(subject="On behalf").count() == 0

"""NTLM: the connection is signed in, under each form that a login has."""

from common import account, refused
from exchangelib import NTLM
from exchangelib.errors import UnauthorizedError

for address, login in (("anna@example.org", "EXAMPLE\\anna"), ("bert@example.org", "bert@example.org")):
    own = account(address, login=login, auth_type=NTLM)
    assert own.inbox.name == "Inbox"
    for _ in range(5):
        assert own.inbox.all().count() == 0

wrong = account("carla@example.org", password="wrong", auth_type=NTLM)
refused(UnauthorizedError, lambda: wrong.inbox)

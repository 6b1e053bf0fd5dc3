"""Autodiscover: from an address to the endpoint, with redirects, over the names that the certificate is for."""

import socket

import dns.resolver
from common import PORT, refused
from exchangelib import Account, Configuration, Credentials
from exchangelib.autodiscover import Autodiscovery, clear_cache, discover
from exchangelib.errors import AutoDiscoverFailed, ErrorNonExistentMailbox

# The names of this test are of this machine, and the port of HTTPS is the simulator's.
NAMES = {"autodiscover.example.org", "autodiscover.other.example", "mail.example.org"}
known = socket.getaddrinfo


def getaddrinfo(host, port, *rest, **options):
    if host in NAMES or host == "localhost":
        return known("127.0.0.1", PORT if port == 443 else port, *rest, **options)
    raise socket.gaierror(socket.EAI_NONAME, "not in this test")


class Resolver:
    def resolve(self, name, kind, **_):
        if kind == "A" and name.rstrip(".").split(":")[0] in NAMES | {"localhost"}:
            return ["127.0.0.1"]
        raise dns.resolver.NXDOMAIN


socket.getaddrinfo = getaddrinfo
Autodiscovery.resolver = Resolver()

credentials = Credentials("anna@example.org", "secret")
answer, protocol = discover("anna@example.org", credentials=credentials)
assert answer.autodiscover_smtp_address == "anna@example.org", answer
assert protocol.service_endpoint == f"https://localhost:{PORT}/EWS/Exchange.asmx", protocol.service_endpoint
assert answer.version.api_version == "Exchange2016"

account = Account("anna@example.org", credentials=credentials, autodiscover=True)
assert account.inbox.name == "Inbox"

# By address: asked again under the other one.
answer, _ = discover("moved@example.org", credentials=credentials)
assert answer.autodiscover_smtp_address == "bert@example.org", answer

# By URL.
clear_cache()
answer, protocol = discover("elsewhere@other.example", credentials=credentials)
assert answer.ews_url == f"https://localhost:{PORT}/EWS/Exchange.asmx"

refused(ErrorNonExistentMailbox, lambda: discover("nobody@example.org", credentials=credentials))
clear_cache()
refused(AutoDiscoverFailed, lambda: discover("anna@nowhere.example", credentials=credentials))

"""What every script begins with: accounts of the simulator that the test started. exchangelib itself is as it came."""

import os

from exchangelib import (
    BASIC,
    DELEGATE,
    IMPERSONATION,
    Account,
    Build,
    Configuration,
    Credentials,
    EWSTimeZone,
    Version,
)

URL = os.environ["EXCHANGE_URL"]
PORT = int(os.environ["EXCHANGE_PORT"])
UTC = EWSTimeZone("UTC")


def configuration(login, password="secret", version=None, auth_type=BASIC):
    return Configuration(
        service_endpoint=URL,
        credentials=Credentials(login, password),
        auth_type=auth_type,
        version=version,
        max_connections=4,
    )


def account(address, login=None, access_type=DELEGATE, **options):
    return Account(
        primary_smtp_address=address,
        config=configuration(login or address, **options),
        autodiscover=False,
        access_type=access_type,
        default_timezone=UTC,
    )


def impersonated(address, service="service@example.org"):
    return account(address, login=service, access_type=IMPERSONATION)


def refused(error, act):
    """The error that `act` raises, which must be of the class `error`."""
    try:
        result = act()
    except error as e:
        return e
    raise AssertionError(f"expected {error.__name__}, got {result!r}")


anna = account("anna@example.org")

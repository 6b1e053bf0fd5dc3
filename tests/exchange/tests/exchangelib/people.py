"""Contacts: their dictionaries of addresses and numbers, entry by entry."""

import datetime

from common import anna
from exchangelib import Contact, EWSDate
from exchangelib.indexed_properties import EmailAddress, PhoneNumber, PhysicalAddress

contact = Contact(
    account=anna,
    folder=anna.contacts,
    given_name="Dora",
    surname="Dale",
    display_name="Dora Dale",
    company_name="Example",
    job_title="Baker",
    email_addresses=[
        EmailAddress(label="EmailAddress1", email="dora@example.net"),
        EmailAddress(label="EmailAddress2", email="dd@example.net"),
    ],
    phone_numbers=[
        PhoneNumber(label="BusinessPhone", phone_number="+49 1"),
        PhoneNumber(label="MobilePhone", phone_number="+49 2"),
    ],
    physical_addresses=[PhysicalAddress(label="Business", street="Road 1", city="Berlin", country="DE", zipcode="10115")],
    birthday=EWSDate(1990, 5, 17),
    children=["Eve", "Finn"],
)
contact.save()
read = anna.contacts.get(display_name="Dora Dale")
assert read.given_name == "Dora" and read.surname == "Dale" and read.job_title == "Baker"
assert {entry.label: entry.email for entry in read.email_addresses} == {
    "EmailAddress1": "dora@example.net",
    "EmailAddress2": "dd@example.net",
}, read.email_addresses
assert read.physical_addresses[0].city == "Berlin"
assert read.birthday == EWSDate(1990, 5, 17), read.birthday
assert read.children == ["Eve", "Finn"]
assert read.complete_name.full_name == "Dora Dale", read.complete_name
assert read.file_as

read.phone_numbers = [PhoneNumber(label="MobilePhone", phone_number="+49 3")]
read.physical_addresses = [PhysicalAddress(label="Home", street="Way 2", city="Bonn")]
read.company_name = None
read.save()
again = anna.contacts.get(id=read.id)
numbers = {entry.label: entry.phone_number for entry in again.phone_numbers if entry.phone_number}
assert numbers == {"MobilePhone": "+49 3"}, numbers
addresses = {entry.label: entry.city for entry in again.physical_addresses if entry.city}
assert addresses == {"Home": "Bonn"}, addresses
assert again.company_name is None
assert anna.contacts.filter(phone_numbers__MobilePhone="+49 3").count() == 1
assert anna.contacts.filter(email_addresses__EmailAddress1="dora@example.net").count() == 1
assert anna.contacts.filter(email_addresses__EmailAddress1="other@example.net").count() == 0

changes = list(anna.contacts.sync_items(only_fields=["display_name"]))
assert [(kind, item.display_name) for kind, item in changes] == [("create", "Dora Dale")], changes
again.delete()
((kind, _),) = anna.contacts.sync_items()
assert kind == "delete"

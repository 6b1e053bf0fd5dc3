"""Extended properties by tag, by set and name, by set and id, and of array types; found again by them."""

from common import anna
from exchangelib import ExtendedProperty, Message


class SendId(ExtendedProperty):
    property_set_id = "c11ff724-aa03-4555-9952-8fa248a11c3e"
    property_name = "send id"
    property_type = "String"


class SearchKey(ExtendedProperty):
    property_tag = 0x300B
    property_type = "Binary"


class Numbers(ExtendedProperty):
    distinguished_property_set_id = "PublicStrings"
    property_name = "numbers"
    property_type = "IntegerArray"


class Numbered(ExtendedProperty):
    distinguished_property_set_id = "Common"
    property_id = 0x8580
    property_type = "String"


for name, cls in (("send_id", SendId), ("search_key", SearchKey), ("numbers", Numbers), ("numbered", Numbered)):
    Message.register(name, cls)

item = Message(account=anna, folder=anna.drafts, subject="Marked", send_id="attempt 7", numbers=[1, 2], numbered="n")
item.save()
Message(account=anna, folder=anna.drafts, subject="Not marked").save()
found = anna.drafts.get(send_id="attempt 7")
assert found.subject == "Marked" and found.numbers == [1, 2] and found.numbered == "n", found
assert anna.drafts.filter(send_id__exists=True).count() == 1
key = found.search_key
assert len(key) == 16

found.send_id = "attempt 8"
found.save()
assert anna.drafts.filter(send_id="attempt 7").count() == 0
found.move(anna.junk)
moved = anna.junk.get(send_id="attempt 8")
assert moved.search_key == key, "a search key stays across moves"
assert anna.junk.get(search_key=key).subject == "Marked"
moved.to_recipients = ["bert@example.org"]
moved.save()
moved.send()
assert anna.sent.get(send_id="attempt 8").search_key == key

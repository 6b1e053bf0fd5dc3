"""Items and folders are synchronized: everything once, then what changed, then nothing."""

from common import anna, refused
from exchangelib import Message
from exchangelib.errors import ErrorInvalidSyncStateData
from exchangelib.folders import Folder

inbox = anna.inbox


def changes(**options):
    return [(kind, item) for kind, item in inbox.sync_items(**options)]


first = changes(only_fields=["subject", "is_read"], max_changes_returned=10)
assert [kind for kind, _ in first] == ["create"] * 30, first
assert len({item.id for _, item in first}) == 30
assert inbox.item_sync_state
assert changes() == []

by_subject = {item.subject: item for _, item in first}
item = inbox.get(subject="Message 00")
item.is_read = True
item.save(update_fields=["is_read"])
((kind, (item_id, is_read)),) = changes()
assert kind == "read_flag_change" and item_id.id == by_subject["Message 00"].id and is_read is True

item = inbox.get(subject="Message 01")
item.subject = "Changed"
item.save()
((kind, changed),) = changes(only_fields=["subject"])
assert kind == "update" and changed.subject == "Changed", (kind, changed)

inbox.get(subject="Message 02").delete()
moved = inbox.get(subject="Message 03")
gone = {by_subject["Message 02"].id, moved.id}
moved.move(anna.trash)
told = changes()
assert [kind for kind, _ in told] == ["delete", "delete"] and {item.id for _, item in told} == gone, told

# Moved back, it is another item.
moved.move(inbox)
Message(account=anna, folder=inbox, subject="New").save()
told = changes(only_fields=["subject"])
assert [kind for kind, _ in told] == ["create", "create"], told
assert {item.subject for _, item in told} == {"Message 03", "New"}
assert changes() == []

# What came and went in between is never told of.
short = Message(account=anna, folder=inbox, subject="Short")
short.save()
short.delete()
assert changes() == []

refused(ErrorInvalidSyncStateData, lambda: list(inbox.sync_items(sync_state="bm9uc2Vuc2U=")))

# The hierarchy.
root = anna.msg_folder_root
told = list(root.sync_hierarchy())
assert len(told) >= 12 and {kind for kind, _ in told} == {"create"}, told
assert list(root.sync_hierarchy()) == []
folder = Folder(parent=root, name="Fresh").save()
((kind, fresh),) = root.sync_hierarchy()
assert kind == "create" and fresh.id == folder.id
folder.name = "Renamed"
folder.save()
((kind, fresh),) = root.sync_hierarchy()
assert kind == "update" and fresh.name == "Renamed", (kind, fresh)
before = folder.id
folder.delete()
((kind, fresh),) = root.sync_hierarchy()
assert kind == "delete" and fresh.id == before

"""Folders are made, renamed, emptied and deleted."""

from common import anna, refused
from exchangelib import Message
from exchangelib.errors import ErrorDeleteDistinguishedFolder, ErrorFolderExists, ErrorFolderNotFound
from exchangelib.folders import Calendar, Messages

projects = Messages(parent=anna.msg_folder_root, name="Projects").save()
inner = Messages(parent=projects, name="2026").save()
assert projects.id and inner.id
refused(ErrorFolderExists, lambda: Messages(parent=anna.msg_folder_root, name="Projects").save())
assert (anna.msg_folder_root / "Projects" / "2026").id == inner.id
assert projects.child_folder_count in (None, 0, 1)
projects.refresh()
assert projects.child_folder_count == 1

projects.name = "Plans"
projects.save()
assert (anna.msg_folder_root / "Plans").id == projects.id

Message(account=anna, folder=inner, subject="One", is_read=False).save()
inner.refresh()
assert inner.total_count == 1
inner.empty()
inner.refresh()
assert inner.total_count == 0

calendar = Calendar(parent=anna.msg_folder_root, name="Second").save()
calendar.refresh()
assert calendar.folder_class == "IPF.Appointment", calendar.folder_class

inner.delete()
anna.root.clear_cache()
refused(ErrorFolderNotFound, lambda: anna.msg_folder_root / "Plans" / "2026")
refused(ErrorDeleteDistinguishedFolder, lambda: anna.inbox.delete())

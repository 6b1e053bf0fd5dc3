-- What the API promises of every call: that a mailbox's new owner is shown nothing of the old one's, that a repeated
-- request is answered as the first was, and that a setting has a version.

-- Of a mailbox that moved, its new owner sees the items that were first seen since (mailboxes.mapped_at). `seen_at`
-- cannot tell: it moves with each decision. Of rows that are there already nobody knows.
alter table mailbox_items add column first_seen_at timestamptz not null default '-infinity';
alter table mailbox_items alter column first_seen_at set default now();

-- What left a mail server, and why: deletions that Lockstep asks a server for are intentions, committed before they are
-- said and repeated until the server says that they are done; and what a server lists no longer is kept for a time.

-- When the server was first asked to delete the item, and when it said that it had.
alter table mailbox_items
    add column delete_asked_at timestamptz,
    add column deleted_at timestamptz,
    add check (deleted_at is null or delete_asked_at is not null);

-- Found by the upkeep that removes rows whose time is over.
create index mailbox_items_gone on mailbox_items (organization_id, gone_at) where gone_at is not null;

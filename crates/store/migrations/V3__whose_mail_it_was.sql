-- A mailbox can move to another owner, and what it received and sent until then stays with the owner of that time. This
-- says since when it belongs to the present one, who sees nothing older by it.
--
-- Rows that are there already keep showing what they show.

alter table mailboxes add column mapped_at timestamptz not null default '-infinity';

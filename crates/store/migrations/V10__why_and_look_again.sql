-- Two questions about what was seen in a mailbox: what became of the mail with this Message-ID, and would it be decided
-- otherwise today.
--
-- Of an item that is not accepted no content is stored, so that its Message-ID cannot be. What is kept is a hash of it,
-- with which a person who knows the id can ask, and from which nobody reads one. It is not keyed: a key beside it in the
-- same database would hide nothing from whoever holds the database, and one outside of it would end every answer when it
-- is rotated. It contains the organization, so that two organizations which got the same mail do not show it by
-- equal values. Half a SHA-256 is enough to tell the ids of one organization apart.

create function message_id_hash(message_id text) returns bytea language sql stable as
    $$ select substr(sha256(convert_to(current_organization()::text || ' ' || message_id, 'UTF8')), 1, 16) $$;

alter table mailbox_items
    -- Null where nobody could read it: a message without one, or one that never came through.
    add column message_id_hash bytea check (length(message_id_hash) = 16),
    -- Somebody asked for it to be fetched and judged again; null once that is done. Its decision stands until then.
    add column examine_again_at timestamptz;

create index mailbox_items_message_id on mailbox_items (organization_id, message_id_hash)
    where message_id_hash is not null;
create index mailbox_items_examine_again on mailbox_items (organization_id, mailbox_id)
    where examine_again_at is not null;
-- What another rule could take is counted before anybody is asked.
create index mailbox_items_passed_over on mailbox_items (organization_id, mailbox_id, decision)
    where decision in ('not_accepted', 'before_the_floor', 'too_large', 'undeliverable');

-- What belongs to one reader's copy alone ------------------------------------------------------------------------------
--
-- Two mailboxes got one body under two headers: each names, in what servers wrote on its way, whom it was delivered to.
-- The body is kept once, with the header that came first; every other receipt keeps its own, and its reader gets that.
alter table receipts add column header bytea compression lz4;
-- Where the body of the raw message begins.
alter table email_copies add column header_size bigint not null default 0;
-- What an owner without a receipt sees. Neither ids nor times tell it: the second copy's transaction may be the older one.
alter table email_copies add column made_the_record boolean not null default false;

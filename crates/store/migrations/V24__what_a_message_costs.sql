-- What storing a received message costs (decision 0041, docs/performance.md).
--
-- A foreign key is checked row by row: these ten took about a quarter of Postgres's time for a message, and those to
-- the organization made all mailboxes that are read at once share the lock of its one row. The keys that go here lead
-- from what is written beside its parent, by the same function in the same transaction; those to whatever may go while
-- others write (blobs with a copy or an attachment, mailboxes with a schedule) stay. What a key did when its parent was
-- deleted, one statement does now for all that were deleted.

alter table blobs drop constraint blobs_organization_id_fkey;
alter table emails drop constraint emails_organization_id_fkey;
alter table changes drop constraint changes_organization_id_fkey;
alter table blob_chunks drop constraint blob_chunks_organization_id_sha256_fkey;
alter table email_copies drop constraint email_copies_organization_id_email_id_fkey;
alter table email_parties drop constraint email_parties_organization_id_email_id_fkey;
alter table receipts
    drop constraint receipts_organization_id_email_id_fkey,
    drop constraint receipts_organization_id_copy_id_fkey;
alter table mailbox_items
    drop constraint mailbox_items_organization_id_mailbox_id_fkey,
    drop constraint mailbox_items_organization_id_email_id_fkey;

create function organization_is_bare() returns trigger language plpgsql as $$
begin
    if exists (select from emails where organization_id = old.id)
        or exists (select from blobs where organization_id = old.id)
        or exists (select from changes where organization_id = old.id) then
        raise foreign_key_violation using message = 'the organization still has rows';
    end if;
    return old;
end
$$;
create trigger organization_is_bare before delete on organizations
    for each row execute function organization_is_bare();

create function emails_went() returns trigger language plpgsql as $$
begin
    delete from receipts r using went w where r.organization_id = w.organization_id and r.email_id = w.id;
    delete from email_copies c using went w where c.organization_id = w.organization_id and c.email_id = w.id;
    delete from email_parties p using went w where p.organization_id = w.organization_id and p.email_id = w.id;
    update mailbox_items i set email_id = null from went w
    where i.organization_id = w.organization_id and i.email_id = w.id;
    return null;
end
$$;
create trigger emails_went after delete on emails referencing old table as went
    for each statement execute function emails_went();

create function email_copies_went() returns trigger language plpgsql as $$
begin
    delete from receipts r using went w
    where r.organization_id = w.organization_id and r.email_id = w.email_id and r.copy_id = w.id;
    return null;
end
$$;
create trigger email_copies_went after delete on email_copies referencing old table as went
    for each statement execute function email_copies_went();

create function blobs_went() returns trigger language plpgsql as $$
begin
    delete from blob_chunks c using went w where c.organization_id = w.organization_id and c.sha256 = w.sha256;
    return null;
end
$$;
create trigger blobs_went after delete on blobs referencing old table as went
    for each statement execute function blobs_went();

create function mailboxes_went() returns trigger language plpgsql as $$
begin
    delete from mailbox_items i using went w where i.organization_id = w.organization_id and i.mailbox_id = w.id;
    return null;
end
$$;
create trigger mailboxes_went after delete on mailboxes referencing old table as went
    for each statement execute function mailboxes_went();

-- Each index is one more entry a message, and these find nothing that another does not. The primary key read backwards
-- is the list of the newest emails; the receipts of a copy stand with its email's.
drop index emails_recent;
drop index receipts_copy;
-- Received mail has no id of the host's: no entry for what is null.
alter table emails drop constraint emails_organization_id_external_id_key;
create unique index emails_organization_id_external_id_key on emails (external_id, organization_id)
    where external_id is not null;

-- lz4 halves text on its way to the log and to the disk, and passes quickly over what is compressed already.
alter table blob_chunks alter column data set storage extended;

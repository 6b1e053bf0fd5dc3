-- What an Exchange mailbox has beyond its inbox: items that move, other folders that are read, the folders there are, and
-- where what could not be recorded is put.

alter table mailbox_items
    -- What stays the same when an item moves (PidTagSearchKey), where the server says it. A copy has it as well, so that
    -- alone it proves nothing.
    add column search_key bytea check (length(search_key) between 1 and 64),
    -- When it was moved to the profile's folder for what could not be recorded, how often that failed, and why.
    add column moved_at timestamptz,
    add column move_attempts integer not null default 0,
    add column move_error text;
create index mailbox_items_search_key on mailbox_items (organization_id, mailbox_id, search_key)
    where search_key is not null;

-- Where what could not be recorded is moved to, at the top of the mailbox; null: it stays where it is.
alter table profiles
    add column undeliverable_folder text check (length(undeliverable_folder) between 1 and 256);

-- The folders of a mailbox as they were when they were last asked for.
create table mailbox_folders (
    organization_id uuid not null,
    mailbox_id uuid not null,
    -- Ours: what cursors and items call the folder, however long the server's name for it is.
    id uuid not null,
    provider_id text not null,
    parent_provider_id text,
    name text not null,
    class text,
    -- What the server itself uses it for: `inbox`, `deleteditems`.
    role text,
    -- Since when it is there no more.
    gone_at timestamptz,
    primary key (organization_id, mailbox_id, id),
    unique (organization_id, mailbox_id, provider_id),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);

-- How far the folders were read: one row for each mailbox that has some.
create table mailbox_hierarchies (
    organization_id uuid not null,
    mailbox_id uuid not null,
    -- Of which mailbox on the server: another one has other folders.
    of_mailbox text not null,
    sync_state text,
    read_at timestamptz,
    tried_at timestamptz not null default now(),
    primary key (organization_id, mailbox_id),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);

-- Which folders are read beside the inbox.
create table read_folders (
    organization_id uuid not null,
    mailbox_id uuid not null,
    -- As a person named it; once it was found, the folder stays the same whatever it is called.
    path text not null check (length(path) between 1 and 1000),
    place integer not null,
    folder_id uuid,
    -- Why it is not read.
    problem text check (problem in ('not_found', 'deleted', 'refused')),
    primary key (organization_id, mailbox_id, path),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade,
    foreign key (organization_id, mailbox_id, folder_id) references mailbox_folders (organization_id, mailbox_id, id)
        on delete set null (folder_id)
);
create index read_folders_folder on read_folders (organization_id, mailbox_id, folder_id);

do $$
declare
    tenant_table text;
begin
    foreach tenant_table in array array['mailbox_folders', 'mailbox_hierarchies', 'read_folders'] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('alter table %I force row level security', tenant_table);
        execute format('create policy tenant on %I to lockstep_tenant
            using (organization_id = current_organization())
            with check (organization_id = current_organization())', tenant_table);
        execute format('grant select, insert, update, delete on %I to lockstep_tenant', tenant_table);
    end loop;
end
$$;

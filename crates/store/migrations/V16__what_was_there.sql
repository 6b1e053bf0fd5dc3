-- What was there stays known, and a host application can follow what changes.
--
-- A receipt says whose mailbox it came to at the time, so that moving or removing the mailbox takes no record from
-- anybody; it outlives the mailbox, and a tombstone keeps the name of what was removed. Removing frees every unique
-- key, which a mark on the row itself would not.
--
-- The change feed reads `changes` in the order of transactions, and offers a row only once every older transaction
-- has ended. What was removed from its front is remembered, so that a reader that was away for too long is told.

alter table receipts add column owner_kind text check (owner_kind in ('user', 'queue'));
alter table receipts add column owner_id uuid;
alter table receipts no force row level security;
alter table mailboxes no force row level security;
update receipts r
set owner_kind = case when m.user_id is not null then 'user' else 'queue' end, owner_id = coalesce(m.user_id, m.queue_id)
from mailboxes m
where m.organization_id = r.organization_id and m.id = r.mailbox_id and r.created_at >= m.mapped_at
  and coalesce(m.user_id, m.queue_id) is not null;
alter table receipts force row level security;
alter table mailboxes force row level security;
alter table receipts drop constraint receipts_organization_id_mailbox_id_fkey;
create index receipts_owner on receipts (organization_id, owner_id, email_id) where owner_id is not null;

create table tombstones (
    organization_id uuid not null references organizations,
    record_type text not null check (record_type in ('mailbox', 'user', 'queue', 'profile')),
    record_id uuid not null,
    name text not null,
    -- Of what had one.
    address text,
    deleted_by text not null,
    deleted_at timestamptz not null default now(),
    primary key (organization_id, record_type, record_id)
);

-- The feed -----------------------------------------------------------------------------------------------------------

create index changes_feed on changes (organization_id, transaction_id, sequence);
-- An id is one record's, whatever its type.
drop index changes_record;
create index changes_record on changes (organization_id, record_id, sequence);

-- The last row that was removed from the front of an organization's feed.
create table change_horizons (
    organization_id uuid not null references organizations,
    transaction_id xid8 not null,
    sequence bigint not null,
    primary key (organization_id)
);

-- Until when somebody waits for an organization's next change: whoever writes one then says so. A notification of
-- every change would make all commits of the installation wait for each other.
create unlogged table change_waiters (
    organization_id uuid not null references organizations,
    until timestamptz not null,
    primary key (organization_id)
);

-- Raised when positions in the feed lose their meaning: a database that was restored elsewhere, or adopted.
alter table installation add column feed integer not null default 1;

do $$
declare
    tenant_table text;
begin
    foreach tenant_table in array array['tombstones', 'change_horizons', 'change_waiters'] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('alter table %I force row level security', tenant_table);
        execute format('create policy tenant on %I to lockstep_tenant
            using (organization_id = current_organization())
            with check (organization_id = current_organization())', tenant_table);
    end loop;
end
$$;
grant select, insert on tombstones to lockstep_tenant;
grant select on change_horizons to lockstep_tenant;
grant select, insert, update on change_waiters to lockstep_tenant;

-- A tenant's transaction never rewrites the log. What is too old is removed by this function and nothing else, from
-- the front of each feed; forced row-level security binds its owner too, so the tables it touches have a policy for it.
create policy upkeep on changes to current_user using (true);
create policy upkeep on change_horizons to current_user using (true) with check (true);
create policy upkeep on settings for select to current_user using (true);
create policy upkeep on organizations for select to current_user using (true);

create function forget_changes(default_days integer, most integer) returns bigint
    language sql volatile security definer set search_path = pg_catalog, public as $$
    with kept as (
        select o.id, coalesce((select (s.value #>> '{}')::integer from public.settings s
                               where s.organization_id = o.id and s.name = 'changes_kept_days'), default_days) as days
        from public.organizations o
    ), old as (
        select c.organization_id, c.transaction_id, c.sequence
        from kept k
        -- Where the first one is kept there is nothing to look for.
        cross join lateral (select f.at from public.changes f where f.organization_id = k.id
                            order by f.transaction_id, f.sequence limit 1) as first
        cross join lateral (select f.organization_id, f.transaction_id, f.sequence, f.at from public.changes f
                            where f.organization_id = k.id
                              and f.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
                            order by f.transaction_id, f.sequence limit most) as c
        where first.at < now() - make_interval(days => k.days) and c.at < now() - make_interval(days => k.days)
    ), gone as (
        delete from public.changes c using old
        where c.organization_id = old.organization_id and c.transaction_id = old.transaction_id
          and c.sequence = old.sequence
        returning c.organization_id, c.transaction_id, c.sequence
    ), horizons as (
        insert into public.change_horizons as h (organization_id, transaction_id, sequence)
        select distinct on (organization_id) organization_id, transaction_id, sequence from gone
        order by organization_id, transaction_id desc, sequence desc
        on conflict (organization_id) do update
        set transaction_id = excluded.transaction_id, sequence = excluded.sequence
        where (h.transaction_id, h.sequence) < (excluded.transaction_id, excluded.sequence)
    )
    select count(*) from gone
$$;
revoke all on function forget_changes(integer, integer) from public;
grant execute on function forget_changes(integer, integer) to lockstep_ring;

-- A job may wait for another one, says why its last try failed, and may be asked for by a schedule: at a time, or again and
-- again at the times of a cron pattern in a time zone. What ended long ago is found by when it did.

alter table jobs
    -- The job that must succeed before this one is due. Not a key: what has ended is cleaned up, and this one stays.
    add column after_id uuid,
    -- Whether it still waits for that one; says something about a waiting job only.
    add column held boolean not null default false,
    -- The schedule that asked for it.
    add column schedule_id uuid,
    -- What the last try said that failed and was not the last; for people.
    add column last_error text;

drop index jobs_ready;
create index jobs_ready on jobs (due_at) where state = 'waiting' and not held;
create index jobs_held on jobs (organization_id, after_id) where state = 'waiting' and held;
create index jobs_ended on jobs (organization_id, ended_at) where ended_at is not null;

grant select (after_id, held) on jobs to lockstep_ring;
grant update (held) on jobs to lockstep_ring;

create table job_schedules (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 100),
    kind text not null,
    payload jsonb not null default '{}',
    -- Five fields, read in the zone; or once.
    cron text,
    zone text,
    once_at timestamptz,
    paused boolean not null default false,
    -- When the next job is asked for; none: never again.
    due_at timestamptz,
    -- The last job, and when it was asked for.
    last_job_id uuid,
    last_at timestamptz,
    version bigint not null default 1,
    created_by text not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, id),
    check ((cron is null) = (zone is null)),
    check ((cron is null) <> (once_at is null))
);
create unique index job_schedules_name on job_schedules (organization_id, lower(name));
create index job_schedules_due on job_schedules (due_at) where not paused and due_at is not null;

-- Every organization cleans up once a night, those that are there already too; spread over an hour.
alter table organizations no force row level security;
insert into job_schedules (organization_id, id, name, kind, cron, zone, due_at, created_by)
    select o.id, gen_random_uuid(), 'clean-up', 'clean_up', format('%s 3 * * *', m), 'UTC',
           (date_trunc('day', now() at time zone 'UTC') + make_interval(days => 1, hours => 3, mins => m))
               at time zone 'UTC', 'operator:operator'
    from organizations o, lateral (select get_byte(uuid_send(o.id), 15) % 60 as m) as spread;
alter table organizations force row level security;

alter table job_schedules enable row level security;
alter table job_schedules force row level security;
create policy tenant on job_schedules to lockstep_tenant
    using (organization_id = current_organization()) with check (organization_id = current_organization());
grant select, insert, update, delete on job_schedules to lockstep_tenant;
-- The ring sees whose time has come, and nothing of what is to be done.
create policy ring on job_schedules for select to lockstep_ring using (true);
grant select (organization_id, id, paused, due_at) on job_schedules to lockstep_ring;

-- Schedules act.
alter table changes drop constraint changes_actor_kind_check;
alter table changes add constraint changes_actor_kind_check
    check (actor_kind in ('user', 'key', 'job', 'schedule', 'cycle', 'operator')) not valid;

-- The log of one organization, for its clean-up; see forget_changes(integer, integer) of V16, which this one follows.
create function forget_changes(organization uuid, days integer, most integer) returns bigint
    language sql volatile security definer set search_path = pg_catalog, public as $$
    with old as (
        select c.organization_id, c.transaction_id, c.sequence
        from (select f.at from public.changes f where f.organization_id = organization
              order by f.transaction_id, f.sequence limit 1) as first
        cross join lateral (select f.organization_id, f.transaction_id, f.sequence, f.at from public.changes f
                            where f.organization_id = organization
                              and f.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
                            order by f.transaction_id, f.sequence limit most) as c
        where first.at < now() - make_interval(days => days) and c.at < now() - make_interval(days => days)
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
revoke all on function forget_changes(uuid, integer, integer) from public;
grant execute on function forget_changes(uuid, integer, integer) to lockstep_ring;

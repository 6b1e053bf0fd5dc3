-- What a scan reads and what a cycle writes, at three million workloads. Each of a cycle's three updates wrote an entry into
-- four indexes; now the one from queued to running touches no index at all, and one index answers "is anything due?"
-- without asking each profile.

-- Indexed instead of `state`, because Postgres keeps an update in its page only while no indexed column changes its value:
-- queued and running are the same to every index.
alter table schedules add column flying boolean not null generated always as (state <> 'idle') stored;

drop index schedules_ready, schedules_wished, schedules_in_flight, schedules_taken;
-- The oldest due of everything, and the oldest due of one profile.
create index schedules_due on schedules (workload, ready_at) where not flying and ready_at is not null;
create index schedules_ready on schedules (profile_id, workload, ready_at) where not flying and ready_at is not null;
create index schedules_wished on schedules (workload, ready_at) where not flying and wished_at is not null;
-- Counts what is in flight for the windows; the sweep reads it too.
create index schedules_in_flight on schedules (workload, profile_id) where flying;

-- The table is written all the time and everywhere: vacuumed when one row in fifty is dead, however large it is, and never
-- made to wait. Its statistics change little.
alter table schedules set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.2);

-- Whose plan a workload is queued by: one at a time over the whole installation, because a plan counts what is in flight and
-- queues by that count. A plan that another one followed is worth nothing. Not a tenant's.
create table turns (
    workload text primary key check (workload in ('incoming', 'outgoing', 'act')),
    plan uuid not null,
    -- Until when others leave the turn to its holder; politeness only, the plan is what counts.
    until timestamptz not null default now()
) with (fillfactor = 10);
insert into turns (workload, plan)
    select workload, '00000000-0000-0000-0000-000000000000' from unnest(array['incoming', 'outgoing', 'act']) workload;
grant select on turns to lockstep_ring;
grant update (plan, until) on turns to lockstep_ring;

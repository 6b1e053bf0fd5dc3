-- Two roles without login and forced row-level security. A process logs in as a role without rights of its own and
-- sets one of these per transaction: `lockstep_tenant` with the organization named, or `lockstep_ring`, which
-- crosses organizations but is granted only the columns that decide when and where work runs.
--
-- Roles are shared by all databases of a server, so two installations may create them at the same moment.

do $$
declare
    wanted text;
begin
    foreach wanted in array array['lockstep_tenant', 'lockstep_ring'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                execute format('create role %I nologin noinherit', wanted);
            exception when duplicate_object or unique_violation then null;
            end;
        end if;
    end loop;
end
$$;

-- The organization of this transaction. Unset is an error, never "all" and never "none".
create function current_organization() returns uuid language sql stable as
    $$ select current_setting('lockstep.organization')::uuid $$;

do $$
declare
    tenant_table text;
begin
    foreach tenant_table in array array[
        'users', 'queues', 'queue_members', 'api_keys', 'profiles', 'endpoints', 'mailboxes', 'credentials',
        'mailbox_workloads', 'schedules', 'blobs', 'blob_chunks', 'contacts', 'addresses', 'emails', 'email_copies',
        'email_parties', 'receipts', 'attachments', 'mailbox_items', 'cursors', 'send_requests', 'send_recipients',
        'send_attempts', 'alerts', 'jobs', 'settings', 'changes', 'idempotency_keys'
    ] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('alter table %I force row level security', tenant_table);
        execute format('create policy tenant on %I to lockstep_tenant
            using (organization_id = current_organization())
            with check (organization_id = current_organization())', tenant_table);
        execute format('grant select, insert, update, delete on %I to lockstep_tenant', tenant_table);
    end loop;
end
$$;

-- The log of changes is written once and never rewritten by a tenant's transaction.
revoke update, delete on changes from lockstep_tenant;
revoke update, delete on send_attempts from lockstep_tenant;
grant update (answered_at, answer, server_said) on send_attempts to lockstep_tenant;

alter table organizations enable row level security;
alter table organizations force row level security;
create policy tenant on organizations to lockstep_tenant
    using (id = current_organization()) with check (id = current_organization());
grant select, insert, update on organizations to lockstep_tenant;

grant select on installation to lockstep_tenant, lockstep_ring;

-- The ring ---------------------------------------------------------------------------------------------------------

grant select, insert, update, delete on sessions to lockstep_ring;
-- A claim asks whether its session is alive.
grant select (id, seen_at, ended_at, dead_after) on sessions to lockstep_tenant;

create policy ring on schedules to lockstep_ring using (true) with check (true);
grant select on schedules to lockstep_ring;
grant update (state, claim, session_id, since, due_at, due_reason, not_before, not_before_reason, wished_at, deaths)
    on schedules to lockstep_ring;

create policy ring on jobs to lockstep_ring using (true) with check (true);
grant select (organization_id, id, kind, state, claim, session_id, since, due_at, attempts, max_attempts)
    on jobs to lockstep_ring;
grant update (state, claim, session_id, since, due_at, attempts, ended_at, result) on jobs to lockstep_ring;

create policy ring on profiles for select to lockstep_ring using (true);
grant select (organization_id, id, max_connections, max_in_flight, credentials_on, paused_reason)
    on profiles to lockstep_ring;

create policy ring on endpoints for select to lockstep_ring using (true);
grant select on endpoints to lockstep_ring;

-- Pending sends, by ids and times only: one query every five minutes repairs an outgoing due time that is missing.
create policy ring on emails for select to lockstep_ring using (true);
grant select (organization_id, id, mailbox_id, state) on emails to lockstep_ring;
create policy ring on send_requests for select to lockstep_ring using (true);
grant select (organization_id, id, email_id, requested_at, not_before, ended_at) on send_requests to lockstep_ring;
create policy ring on send_recipients for select to lockstep_ring using (true);
grant select (organization_id, send_request_id, state, next_try_at) on send_recipients to lockstep_ring;

-- Signing in -------------------------------------------------------------------------------------------------------

-- Who a key is, before any organization is known: the only way across, by the key's hash and nothing else.
-- The owner of the function is the owner of the tables; forced row-level security binds the owner too, so the two
-- tables that the function reads have a policy for it.
create policy authenticate on api_keys for select to current_user using (true);
create policy authenticate on users for select to current_user using (true);

create function authenticate(key_hash bytea)
    returns table (organization_id uuid, key_id uuid, user_id uuid, role text, scopes text[])
    language sql stable security definer set search_path = pg_catalog, public as $$
    select k.organization_id, k.id, k.user_id, u.role, k.scopes
    from public.api_keys k
    left join public.users u on u.organization_id = k.organization_id and u.id = k.user_id
    where k.hash = key_hash and k.revoked_at is null and (k.user_id is null or u.active)
$$;
revoke all on function authenticate(bytea) from public;
grant execute on function authenticate(bytea) to lockstep_tenant, lockstep_ring;

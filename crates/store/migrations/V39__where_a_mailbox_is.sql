-- A profile may leave its Exchange server to be found: each mailbox's web services are looked for by autodiscover from the mailbox's
-- address, and kept until something says that they are elsewhere (decision 0081).

alter table profiles drop constraint profiles_exchange_whole_check;
alter table profiles
    -- Who is asked instead of the servers of a mailbox's domain.
    add column exchange_start text check (length(exchange_start) between 1 and 2000),
    -- Hosts that may hear the credentials although they are not under a mailbox's domain: an administrator's consent.
    add column exchange_hosts text[] not null default '{}',
    add constraint profiles_exchange_whole_check check (
        (kind = 'exchange_ews') = (exchange_access is not null)
        and (kind = 'exchange_ews' or exchange_path is null)
        -- Where the address is given nothing is looked for.
        and ((kind = 'exchange_ews' and exchange_path is null) or (exchange_start is null and exchange_hosts = '{}')));
comment on column profiles.exchange_path is 'Null with an Exchange server: its place is found for each mailbox.';

comment on column endpoints.protocol is
    'What decides which workloads the endpoint holds back; ews_found: only the mailboxes that were found there, by themselves.';

create table found_services (
    organization_id uuid not null,
    mailbox_id uuid not null,
    host text not null check (length(host) between 1 and 253),
    port integer not null check (port between 1 and 65535),
    path text not null check (length(path) between 1 and 2000),
    -- The key of the endpoint, by which connections and breakers are counted.
    endpoint text not null,
    -- Whose answer it was: host, port and path of the autodiscover service, whose name tells the way.
    told_by text not null,
    -- Who looked: a test's job, or a cycle.
    found_by text not null,
    found_at timestamptz not null default now(),
    -- When it was looked for last, whatever came of it.
    asked_at timestamptz not null default now(),
    -- Since when something says that it is elsewhere.
    doubted_at timestamptz,
    primary key (organization_id, mailbox_id),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);
create index found_services_endpoint on found_services (organization_id, endpoint);

alter table found_services enable row level security;
alter table found_services force row level security;
create policy tenant on found_services to lockstep_tenant
    using (organization_id = current_organization())
    with check (organization_id = current_organization());
grant select, insert, update, delete on found_services to lockstep_tenant;

-- Which mailboxes are listened to, and by whom. A server that tells when something comes in is listened to over one
-- connection for many mailboxes: each of them belongs to one watch at most, which is a session's until a time. Whoever
-- listens writes nothing but wishes.

create table watches (
    organization_id uuid not null,
    mailbox_id uuid not null,
    -- As the schedule row had it when it was claimed.
    profile_id uuid not null,
    -- The watch that it belongs to, together with others; null: none.
    watch_id uuid,
    session_id uuid,
    since timestamptz not null default now(),
    -- Until when it is the session's, whatever becomes of the session.
    until timestamptz,
    -- Whether it was listened to before: then something may have come in since, which nobody told.
    heard boolean not null default false,
    -- Tries in a row that came to nothing, and until when it is left alone for that.
    failures integer not null default 0 check (failures >= 0),
    not_before timestamptz,
    -- Those of one profile that cannot be listened to together with the others are marked alike. The mark counts for a day.
    apart uuid,
    apart_at timestamptz,
    primary key (organization_id, mailbox_id),
    check ((watch_id is null) = (session_id is null) and (watch_id is null) = (until is null)),
    check ((apart is null) = (apart_at is null)),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);
create index watches_held on watches (watch_id) where watch_id is not null;

alter table watches enable row level security;
alter table watches force row level security;
create policy tenant on watches to lockstep_tenant
    using (organization_id = current_organization()) with check (organization_id = current_organization());
grant select, insert, update, delete on watches to lockstep_tenant;

-- The ring claims, over all organizations.
create policy ring on watches to lockstep_ring using (true) with check (true);
grant select, insert on watches to lockstep_ring;
grant update (profile_id, watch_id, session_id, since, until, apart, apart_at) on watches to lockstep_ring;
grant select (kind) on profiles to lockstep_ring;
-- Of the settings the ring sees the one that says whether servers are listened to.
create policy ring on settings for select to lockstep_ring using (name = 'push');
grant select (organization_id, name, value) on settings to lockstep_ring;

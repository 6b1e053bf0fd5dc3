-- What the API promises of every call: that a mailbox's new owner is shown nothing of the old one's, that a repeated
-- request is answered as the first was, and that a setting has a version.

-- Of a mailbox that moved, its new owner sees the items that were first seen since (mailboxes.mapped_at). `seen_at`
-- cannot tell: it moves with each decision. Of rows that are there already nobody knows.
alter table mailbox_items add column first_seen_at timestamptz not null default '-infinity';
alter table mailbox_items alter column first_seen_at set default now();

-- An answer is kept as it was sent, and only beside the effect it speaks of: a row without one is never committed
-- (docs/decisions/0013). An answer with a new key in it is not kept: the key is shown once.
alter table idempotency_keys drop column body;
alter table idempotency_keys alter column status set not null;
alter table idempotency_keys add column etag text;
alter table idempotency_keys add column answer text compression lz4;
alter table idempotency_keys add column expires_at timestamptz not null default now() + interval '24 hours';
create index idempotency_keys_expired on idempotency_keys (expires_at);
create policy ring on idempotency_keys to lockstep_ring using (true);
grant select (organization_id, principal, key, expires_at) on idempotency_keys to lockstep_ring;
grant delete on idempotency_keys to lockstep_ring;

-- A setting's version is the transaction that wrote it, so that one which went back to its default in between never comes
-- to the same version again.
alter table settings add column version bigint not null default pg_current_xact_id()::text::bigint;

-- The kinds of records that a host application has beside `account` and `lead`: only of these it may give addresses.
create table record_types (
    organization_id uuid not null references organizations,
    name text not null check (length(name) between 1 and 50),
    label text not null check (length(label) between 1 and 100),
    plural text not null check (length(plural) between 1 and 100),
    created_at timestamptz not null default now(),
    primary key (organization_id, name)
);
alter table record_types enable row level security;
alter table record_types force row level security;
create policy tenant on record_types to lockstep_tenant
    using (organization_id = current_organization()) with check (organization_id = current_organization());
grant select, insert, update, delete on record_types to lockstep_tenant;

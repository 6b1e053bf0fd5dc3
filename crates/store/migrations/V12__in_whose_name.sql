-- Who may send in whose name, on whose right a request to send rests, and which receipts the sender asks for.
--
-- A right is asked for again when a message is about to leave: a permission that was taken back stops what still waits.
-- For that a request keeps the person it rests on. It is no foreign key on purpose: a person who is gone may not turn
-- into "nobody in particular", which is what null says.

create table send_grants (
    organization_id uuid not null,
    -- In whose name.
    granter_id uuid not null,
    -- Who may.
    grantee_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, granter_id, grantee_id),
    check (granter_id <> grantee_id),
    foreign key (organization_id, granter_id) references users on delete cascade,
    foreign key (organization_id, grantee_id) references users on delete cascade
);
create index send_grants_grantee on send_grants (organization_id, grantee_id);

alter table send_grants enable row level security;
alter table send_grants force row level security;
create policy tenant on send_grants to lockstep_tenant
    using (organization_id = current_organization())
    with check (organization_id = current_organization());
grant select, insert, update, delete on send_grants to lockstep_tenant;

-- The person on whose right it rests; null for a service that may send as anybody, and for the operator.
alter table send_requests add column rests_on uuid;

alter table emails add column read_receipt_requested boolean not null default false;
alter table emails add column delivery_receipt_requested boolean not null default false;

-- At most one message of a mailbox is on its way at a time, whatever goes wrong above.
create unique index emails_one_sending on emails (mailbox_id, organization_id) where state = 'sending';

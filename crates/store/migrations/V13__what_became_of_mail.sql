-- What servers further on and readers' programs report about mail that was sent, and which mail nobody wrote by hand.
--
-- A report is no correspondence: it is no email and stands in nobody's list. It belongs to the email that it speaks of,
-- with its raw message, and moves the state of recipients that a server had accepted. Its identity tells it from a copy
-- of itself, so that one that comes twice changes nothing twice.

alter table send_recipients
    drop constraint send_recipients_state_check,
    add constraint send_recipients_state_check check (state in
        ('waiting', 'accepted', 'deferred', 'refused', 'delayed', 'bounced', 'canceled')),
    -- What was reported last, by which server, in its words; beside what our own server said.
    add column reported text check (reported in
        ('failed', 'delayed', 'delivered', 'relayed', 'expanded', 'read', 'deleted', 'processed')),
    add column reported_status text,
    add column reported_said text,
    add column reported_by text,
    add column reported_at timestamptz,
    add column read_at timestamptz;

create table reports (
    organization_id uuid not null references organizations,
    id uuid not null,
    email_id uuid not null,
    send_request_id uuid not null,
    -- Where it came in: the mailbox that had sent the email.
    mailbox_id uuid,
    kind text not null check (kind in ('delivery_report', 'read_receipt')),
    identity bytea not null,
    reporter text,
    -- What it says, recipient by recipient, as it was read.
    recipients jsonb not null,
    raw_sha256 bytea not null,
    raw_size bigint not null,
    received_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (email_id, organization_id, identity),
    foreign key (organization_id, email_id) references emails on delete cascade,
    foreign key (organization_id, send_request_id) references send_requests on delete cascade,
    foreign key (organization_id, mailbox_id) references mailboxes on delete set null (mailbox_id),
    foreign key (organization_id, raw_sha256) references blobs
);
create index reports_request on reports (organization_id, send_request_id);
create index reports_mailbox on reports (organization_id, mailbox_id) where mailbox_id is not null;
create index reports_raw on reports (organization_id, raw_sha256);

alter table reports enable row level security;
alter table reports force row level security;
create policy tenant on reports to lockstep_tenant
    using (organization_id = current_organization()) with check (organization_id = current_organization());
grant select, insert, update, delete on reports to lockstep_tenant;

-- Null for what a person wrote, and for what came in before this column was there.
alter table emails
    add column automatic text check (automatic in
        ('delivery_report', 'out_of_office', 'read_receipt', 'list', 'bulk', 'other')),
    add column response_suppressed text;
create index emails_automatic on emails (organization_id, automatic, id desc) where automatic is not null;

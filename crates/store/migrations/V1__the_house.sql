-- The nouns of design section 3 and the ring of sections 1 and 4.
--
-- Every tenant row belongs to one organization: its primary, unique and foreign keys contain organization_id, and
-- forced row-level security shows a transaction only the organization that it named (V2). Text that a person wrote
-- stays in the tables; nothing here is ever copied into a log line.
--
-- Where rows are many and others refer to them (mailboxes, emails, copies, send requests), only the primary key begins
-- with the organization. Of a table that has no statistics yet, Postgres takes any key that begins so for as good as
-- that one, and would check each foreign key by reading the whole organization.
--
-- Contents are compressed with lz4: the default costs more time than all the rest of storing a message.

create table installation (
    only_row boolean primary key default true check (only_row),
    id uuid not null,
    created_at timestamptz not null default now()
);

create table organizations (
    id uuid primary key,
    name text not null unique check (length(name) between 1 and 100),
    created_at timestamptz not null default now()
);

-- People and shared inboxes: the two kinds of mailbox owner ------------------------------------------------------

create table users (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    address text not null,
    -- What look-ups and uniqueness compare: lower() in a condition would not reach an index past row-level security.
    address_key text not null generated always as (lower(address)) stored,
    role text not null check (role in ('admin', 'user')),
    active boolean not null default true,
    external_id text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (organization_id, external_id)
);
create unique index users_address on users (organization_id, address_key);

create table queues (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    address text not null,
    address_key text not null generated always as (lower(address)) stored,
    external_id text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (organization_id, external_id)
);
create unique index queues_address on queues (organization_id, address_key);

create table queue_members (
    organization_id uuid not null,
    queue_id uuid not null,
    user_id uuid not null,
    primary key (organization_id, queue_id, user_id),
    foreign key (organization_id, queue_id) references queues on delete cascade,
    foreign key (organization_id, user_id) references users on delete cascade
);
create index queue_members_user on queue_members (organization_id, user_id);

create table api_keys (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null,
    -- SHA-256 of the key: the key itself is shown once and kept nowhere.
    hash bytea not null unique check (length(hash) = 32),
    -- A key belongs to a user, or is a service key with named scopes.
    user_id uuid,
    scopes text[] not null default '{}',
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    primary key (organization_id, id),
    foreign key (organization_id, user_id) references users on delete cascade
);

create index api_keys_user on api_keys (organization_id, user_id) where user_id is not null;

-- Servers and secrets --------------------------------------------------------------------------------------------

create table profiles (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 100),
    description text not null default '' check (length(description) <= 2000),
    kind text not null check (kind in ('pop3_smtp')),
    incoming_host text not null,
    incoming_port integer not null check (incoming_port between 1 and 65535),
    incoming_tls text not null check (incoming_tls in ('implicit', 'start_tls')),
    outgoing_host text not null,
    outgoing_port integer not null check (outgoing_port between 1 and 65535),
    outgoing_tls text not null check (outgoing_tls in ('implicit', 'start_tls')),
    -- PEM of the server's own certificate authority, trusted beside the system's.
    ca_certificate text,
    credentials_on text not null check (credentials_on in ('profile', 'mailbox')),
    process_email_received_after timestamptz,
    min_polling_minutes integer not null default 0 check (min_polling_minutes between 0 and 1440),
    max_connections integer not null default 10 check (max_connections between 1 and 65536),
    max_in_flight integer not null default 100 check (max_in_flight between 1 and 65536),
    connect_timeout_ms integer not null default 30000 check (connect_timeout_ms between 1 and 100000),
    alert_mail boolean not null default false,
    -- Paused by Lockstep (refused profile credentials) or by an administrator; the reason is shown.
    paused_reason text,
    external_id text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (organization_id, name),
    unique (organization_id, external_id)
);

-- One row per (profile, endpoint): what is known of the server there. A breaker is open until open_until; while it
-- is, one probe at a time may try.
create table endpoints (
    organization_id uuid not null,
    profile_id uuid not null,
    endpoint text not null,
    -- What decides which workload the endpoint serves; also the front of its key.
    protocol text not null,
    failing_since timestamptz,
    -- Outages in a row: each halves what may be tried at once, until as many cycles have worked again.
    failures integer not null default 0 check (failures >= 0),
    open_until timestamptz,
    primary key (organization_id, profile_id, endpoint),
    foreign key (organization_id, profile_id) references profiles on delete cascade
);

create table mailboxes (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    address text not null,
    address_key text not null generated always as (lower(address)) stored,
    -- At most one owner; a user or a queue has at most one mailbox.
    user_id uuid,
    queue_id uuid,
    profile_id uuid not null,
    -- The endpoint key and login name that mail is read with, unique over the installation.
    incoming_endpoint text not null,
    incoming_login text not null,
    login_key text not null generated always as (lower(incoming_login)) stored,
    approval text not null default 'empty' check (approval in ('empty', 'pending', 'approved', 'rejected')),
    acceptance text not null check (acceptance in ('all', 'known_senders_and_replies', 'none')),
    process_email_received_after timestamptz,
    first_enabled_at timestamptz,
    delete_after_processing boolean not null default false,
    external_id text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (user_id, organization_id),
    unique (queue_id, organization_id),
    constraint mailboxes_organization_id_external_id_key unique (external_id, organization_id),
    check (user_id is null or queue_id is null),
    check (not delete_after_processing or queue_id is not null),
    foreign key (organization_id, user_id) references users,
    foreign key (organization_id, queue_id) references queues,
    foreign key (organization_id, profile_id) references profiles
);
-- The installation-wide keys: a clash with another organization is refused without naming it.
create unique index mailboxes_address_installation on mailboxes (address_key);
create unique index mailboxes_login_installation on mailboxes (incoming_endpoint, login_key);
create index mailboxes_address on mailboxes (address_key, organization_id);
create index mailboxes_profile on mailboxes (profile_id, organization_id);

create table credentials (
    organization_id uuid not null references organizations,
    id uuid not null,
    profile_id uuid,
    mailbox_id uuid,
    kind text not null check (kind in ('password')),
    username text not null,
    -- Envelope-encrypted (store::seal): never selected by anything but the function that opens it.
    sealed bytea not null,
    sealed_with text not null,
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (organization_id, profile_id),
    unique (organization_id, mailbox_id),
    check ((profile_id is null) <> (mailbox_id is null)),
    foreign key (organization_id, profile_id) references profiles on delete cascade,
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);
create index credentials_sealed_with on credentials (sealed_with);

-- What an administrator sets per workload, and the last test. Changes rarely; the ring's columns are in schedules.
create table mailbox_workloads (
    organization_id uuid not null,
    mailbox_id uuid not null,
    workload text not null check (workload in ('incoming', 'outgoing', 'act')),
    method text not null default 'none' check (method in ('none', 'server_side')),
    enabled boolean not null default false,
    -- Why Lockstep switched it off, as an alert kind; null when a person did or it is on.
    disabled_by text,
    test_result text not null default 'not_run' check (test_result in ('not_run', 'success', 'failure')),
    test_said text,
    tested_at timestamptz,
    primary key (organization_id, mailbox_id, workload),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);

-- The ring ---------------------------------------------------------------------------------------------------------

-- One row per live worker process, not a tenant's. Written every 5 s, dead after 15 s, by Postgres's clock.
create table sessions (
    id uuid primary key,
    process text not null,
    -- Cycles that the process can run at once: the sum over live sessions is what a profile's share is taken of.
    slots integer not null check (slots >= 0),
    -- Silent for longer than this, it is dead and stays dead.
    dead_after interval not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    ended_at timestamptz
);
create index sessions_live on sessions (seen_at) where ended_at is null;

-- One row per workload of a mailbox: `idle`, `queued(claim, since)` or `running(claim, session)`. Narrow and hot.
create table schedules (
    organization_id uuid not null,
    mailbox_id uuid not null,
    workload text not null check (workload in ('incoming', 'outgoing', 'act')),
    profile_id uuid not null,
    state text not null default 'idle' check (state in ('idle', 'queued', 'running')),
    -- Raised by each queueing and each bump; the message carries it; every transaction of a cycle is fenced by it.
    claim bigint not null default 0,
    session_id uuid,
    since timestamptz not null default now(),
    -- null: nothing is due (disabled, paused, or outgoing with nothing to send).
    due_at timestamptz,
    due_reason text not null default 'disabled',
    -- A back-off or a server's LOGIN-DELAY: a wish passes over due_at, never over this.
    not_before timestamptz,
    not_before_reason text,
    wished_at timestamptz,
    ready_at timestamptz generated always as (
        case when due_at is null and wished_at is null then null
             else greatest(least(due_at, wished_at), not_before) end
    ) stored,
    -- n of the cadence: consecutive cycles that changed nothing.
    quiet_cycles integer not null default 0,
    -- Consecutive transient failures of mailbox scope.
    failures integer not null default 0,
    -- Consecutive refusals of the credential, and when the first of them was.
    refusals integer not null default 0,
    first_refused_at timestamptz,
    -- Claims that died unfinished, in a row.
    deaths integer not null default 0,
    last_outcome text,
    last_finished_at timestamptz,
    last_items integer,
    primary key (organization_id, mailbox_id, workload),
    check ((state = 'running') = (session_id is not null)),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index schedules_ready on schedules (profile_id, workload, ready_at) where state = 'idle' and ready_at is not null;
create index schedules_wished on schedules (workload, ready_at) where state = 'idle' and wished_at is not null;
create index schedules_in_flight on schedules (workload, profile_id) where state <> 'idle';
-- What finished since the last scan widens the window.
create index schedules_finished on schedules (workload, last_finished_at);
create index schedules_taken on schedules (state, since) where state <> 'idle';

-- Mail ---------------------------------------------------------------------------------------------------------------

create table blobs (
    organization_id uuid not null references organizations,
    sha256 bytea not null check (length(sha256) = 32),
    size bigint not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, sha256)
);

create table blob_chunks (
    organization_id uuid not null,
    sha256 bytea not null,
    number integer not null,
    data bytea compression lz4 not null check (length(data) <= 1048576),
    primary key (organization_id, sha256, number),
    foreign key (organization_id, sha256) references blobs on delete cascade
);
alter table blob_chunks alter column data set storage external;

create table contacts (
    organization_id uuid not null references organizations,
    id uuid not null,
    name text not null check (length(name) between 1 and 200),
    owner_kind text check (owner_kind in ('user', 'queue')),
    owner_id uuid,
    external_id text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (organization_id, external_id)
);

-- The addresses of everything resolvable, in one table that a host application fills in bulk.
create table addresses (
    organization_id uuid not null references organizations,
    -- model::address: normalized.
    address text not null,
    party_type text not null,
    party_id uuid not null,
    name text not null default '',
    primary key (organization_id, address, party_type, party_id)
);
create index addresses_party on addresses (organization_id, party_type, party_id);

create table emails (
    organization_id uuid not null references organizations,
    id uuid not null,
    direction text not null check (direction in ('incoming', 'outgoing')),
    state text not null check (state in
        ('received', 'draft', 'pending_send', 'sending', 'sent', 'failed', 'unknown')),
    -- model::identity: what makes two copies one record within an organization and direction; null for a draft.
    identity bytea,
    message_id text,
    in_reply_to text,
    message_references text[] not null default '{}',
    subject text not null default '',
    sent_at timestamptz,
    received_at timestamptz,
    owner_kind text check (owner_kind in ('user', 'queue')),
    owner_id uuid,
    -- Outgoing: whose mailbox sends it.
    mailbox_id uuid,
    auto_submitted text,
    precedence text,
    list_id text,
    return_path text,
    sensitivity text,
    importance text,
    warnings text[] not null default '{}',
    maybe_duplicate boolean not null default false,
    regarding_type text,
    regarding_id uuid,
    external_id text,
    created_by text not null,
    modified_by text not null,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (identity, organization_id, direction),
    constraint emails_organization_id_external_id_key unique (external_id, organization_id),
    foreign key (organization_id, mailbox_id) references mailboxes on delete set null (mailbox_id)
);
create index emails_message_id on emails (organization_id, message_id) where message_id is not null;
create index emails_recent on emails (organization_id, id desc);
create index emails_sending on emails (organization_id, mailbox_id, state)
    where state in ('pending_send', 'sending');

create table email_copies (
    organization_id uuid not null,
    id uuid not null,
    email_id uuid not null,
    -- SHA-256 of what a reader sees (body and attachments): equal content is shared.
    content_hash bytea not null,
    raw_sha256 bytea,
    raw_size bigint not null default 0,
    text_body text compression lz4,
    html_body text compression lz4,
    created_at timestamptz not null default now(),
    primary key (organization_id, id),
    unique (email_id, organization_id, content_hash),
    foreign key (organization_id, email_id) references emails on delete cascade,
    foreign key (organization_id, raw_sha256) references blobs
);

create index email_copies_raw on email_copies (organization_id, raw_sha256) where raw_sha256 is not null;

create table email_parties (
    organization_id uuid not null,
    email_id uuid not null,
    position integer not null,
    role text not null check (role in ('from', 'sender', 'reply_to', 'to', 'cc', 'bcc')),
    address text not null,
    -- model::address: normalized.
    address_key text not null generated always as (lower(address)) stored,
    name text not null default '',
    party_type text,
    party_id uuid,
    primary key (organization_id, email_id, position),
    foreign key (organization_id, email_id) references emails on delete cascade
);
create index email_parties_address on email_parties (organization_id, address_key);

create table receipts (
    organization_id uuid not null,
    email_id uuid not null,
    mailbox_id uuid not null,
    copy_id uuid not null,
    received_at timestamptz,
    created_at timestamptz not null default now(),
    primary key (organization_id, email_id, mailbox_id, copy_id),
    foreign key (organization_id, email_id) references emails on delete cascade,
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade,
    foreign key (organization_id, copy_id) references email_copies on delete cascade
);
create index receipts_mailbox on receipts (organization_id, mailbox_id);
create index receipts_copy on receipts (organization_id, copy_id);

create table attachments (
    organization_id uuid not null,
    id uuid not null,
    copy_id uuid not null,
    position integer not null,
    name text not null,
    content_type text not null,
    content_id text,
    inline boolean not null default false,
    size bigint not null,
    sha256 bytea not null,
    primary key (organization_id, id),
    unique (organization_id, copy_id, position),
    foreign key (organization_id, copy_id) references email_copies on delete cascade,
    foreign key (organization_id, sha256) references blobs
);

create index attachments_blob on attachments (organization_id, sha256);

-- One row per (mailbox, folder, provider item id) ever seen, with what was decided and by which rule.
create table mailbox_items (
    organization_id uuid not null,
    mailbox_id uuid not null,
    folder text not null,
    item_id text not null,
    decision text not null check (decision in ('recorded', 'duplicate', 'not_accepted', 'before_the_floor',
        'too_large', 'failed', 'undeliverable', 'ignored_class')),
    rule text not null,
    size bigint not null default 0,
    attempts integer not null default 0,
    next_try_at timestamptz,
    last_error text,
    email_id uuid,
    received_at timestamptz,
    gone_at timestamptz,
    seen_at timestamptz not null default now(),
    primary key (organization_id, mailbox_id, folder, item_id),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade,
    foreign key (organization_id, email_id) references emails on delete set null (email_id)
);
create index mailbox_items_retry on mailbox_items (organization_id, mailbox_id, next_try_at) where decision = 'failed';
create index mailbox_items_email on mailbox_items (organization_id, email_id) where email_id is not null;

create table cursors (
    organization_id uuid not null,
    mailbox_id uuid not null,
    workload text not null check (workload in ('incoming', 'outgoing', 'act')),
    folder text not null,
    value jsonb not null,
    modified_at timestamptz not null default now(),
    primary key (organization_id, mailbox_id, workload, folder),
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);

-- Sending ------------------------------------------------------------------------------------------------------------

create table send_requests (
    organization_id uuid not null,
    id uuid not null,
    email_id uuid not null,
    -- 128 random bits and the sender's domain: belongs to this request, not to the email.
    message_id text not null,
    requested_by text not null,
    requested_at timestamptz not null default now(),
    not_before timestamptz,
    canceled_at timestamptz,
    ended_at timestamptz,
    primary key (organization_id, id),
    unique (message_id, organization_id),
    foreign key (organization_id, email_id) references emails on delete cascade
);
create index send_requests_email on send_requests (email_id, organization_id);
create unique index send_requests_open on send_requests (organization_id, email_id) where ended_at is null;

create table send_recipients (
    organization_id uuid not null,
    send_request_id uuid not null,
    position integer not null,
    address text not null,
    role text not null check (role in ('to', 'cc', 'bcc')),
    state text not null default 'waiting' check (state in
        ('waiting', 'accepted', 'deferred', 'refused', 'bounced', 'canceled')),
    attempts integer not null default 0,
    next_try_at timestamptz not null default now(),
    reply_code integer,
    enhanced_code text,
    server_said text,
    primary key (organization_id, send_request_id, position),
    foreign key (organization_id, send_request_id) references send_requests on delete cascade
);

-- Append-only: what was tried, under which claim, and the server's answer when one came.
create table send_attempts (
    organization_id uuid not null,
    id uuid not null,
    send_request_id uuid not null,
    -- The recipients it was for, by position: a try that ends in doubt is about these and no others.
    recipients integer[] not null,
    claim bigint not null,
    session_id uuid not null,
    started_at timestamptz not null default now(),
    answered_at timestamptz,
    answer text check (answer in ('accepted', 'not_accepted', 'not_sent', 'unknown')),
    server_said text,
    primary key (organization_id, id),
    foreign key (organization_id, send_request_id) references send_requests on delete cascade
);
create index send_attempts_request on send_attempts (organization_id, send_request_id);

-- Seeing and administering ---------------------------------------------------------------------------------------------

create table alerts (
    organization_id uuid not null references organizations,
    id uuid not null,
    kind text not null,
    level text not null check (level in ('error', 'warning', 'information')),
    scope text not null check (scope in ('email', 'mailbox', 'profile')),
    class text not null check (class in ('transient', 'permanent')),
    email_id uuid,
    mailbox_id uuid,
    profile_id uuid,
    -- Values for the kind's sentences; never finished text.
    parameters jsonb not null default '{}',
    server_said text,
    -- What makes a repeated alert count up instead of piling up.
    sameness text not null,
    count integer not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    resolved_at timestamptz,
    dismissed_at timestamptz,
    primary key (organization_id, id),
    foreign key (organization_id, email_id) references emails on delete cascade,
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade,
    foreign key (organization_id, profile_id) references profiles on delete cascade
);
create index alerts_email on alerts (organization_id, email_id) where email_id is not null;
create index alerts_mailbox on alerts (organization_id, mailbox_id) where mailbox_id is not null;
create index alerts_profile on alerts (organization_id, profile_id) where profile_id is not null;
create unique index alerts_open on alerts (organization_id, sameness) where resolved_at is null and dismissed_at is null;

-- An async operation. The same ring as a schedule: claimed by the scheduler, published, claimed by number.
create table jobs (
    organization_id uuid not null references organizations,
    id uuid not null,
    kind text not null,
    payload jsonb not null default '{}',
    state text not null default 'waiting' check (state in
        ('waiting', 'queued', 'running', 'succeeded', 'failed', 'canceled')),
    claim bigint not null default 0,
    session_id uuid,
    since timestamptz not null default now(),
    due_at timestamptz default now(),
    attempts integer not null default 0,
    max_attempts integer not null default 3,
    progress jsonb not null default '[]',
    result jsonb,
    created_by text not null,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    primary key (organization_id, id),
    check ((state = 'running') = (session_id is not null))
);
create index jobs_ready on jobs (due_at) where state = 'waiting';
create index jobs_taken on jobs (state, since) where state in ('queued', 'running');
create index jobs_recent on jobs (organization_id, id desc);

create table settings (
    organization_id uuid not null references organizations,
    name text not null,
    value jsonb not null,
    modified_at timestamptz not null default now(),
    primary key (organization_id, name)
);

-- Every change to a record, setting, mapping, approval or secret, in the transaction that made it. History, audit,
-- webhooks and the change feed read this table and no other.
create table changes (
    organization_id uuid not null references organizations,
    sequence bigint generated always as identity,
    -- The feed shows a row only when no older transaction can still commit one: it compares this.
    transaction_id xid8 not null default pg_current_xact_id(),
    record_type text not null,
    record_id uuid not null,
    version bigint not null,
    actor_kind text not null check (actor_kind in ('user', 'key', 'job', 'cycle', 'operator')),
    actor_id text not null,
    cause text not null,
    trace text,
    -- {field: {old, new}}; secrets and bodies are named without values.
    fields jsonb not null,
    at timestamptz not null default now(),
    primary key (organization_id, sequence)
);
create index changes_record on changes (organization_id, record_type, record_id, sequence);

create table idempotency_keys (
    organization_id uuid not null references organizations,
    principal text not null,
    key text not null,
    request_hash bytea not null,
    status integer,
    body jsonb,
    created_at timestamptz not null default now(),
    primary key (organization_id, principal, key)
);

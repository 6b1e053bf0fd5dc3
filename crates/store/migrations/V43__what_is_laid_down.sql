-- An Exchange server is given a message in two steps: it is laid down as a draft, and then sent from there. A try says how far it
-- came, for how long the server is asked before a person is, and what is left to be removed there (decision 0085).
alter table send_attempts
    -- It goes in two steps: without a draft's id that is committed it cannot have left.
    add column by_draft boolean not null default false,
    add column draft_id text check (length(draft_id) between 1 and 4000),
    -- In doubt, and the server is asked until then before a person is told.
    add column asked_until timestamptz,
    -- What may lie at the server under its name once it has ended, and is removed there.
    add column leftover text check (leftover in ('draft', 'copy')),
    add constraint send_attempts_draft_check check (by_draft or (draft_id is null and asked_until is null and leftover is null));
create index send_attempts_asked on send_attempts (asked_until) where asked_until is not null;
create index send_attempts_leftover on send_attempts (organization_id, send_request_id) where leftover is not null;

grant update (by_draft, draft_id, asked_until, leftover) on send_attempts to lockstep_tenant;
create policy ring on send_attempts for select to lockstep_ring using (true);
grant select (organization_id, send_request_id, asked_until) on send_attempts to lockstep_ring;

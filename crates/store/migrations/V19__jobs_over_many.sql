-- An operation over many mailboxes goes on in bounded batches: the job remembers how far it came, so that whoever takes it up
-- after a death goes on from there, and which jobs it started, so that they are counted and withdrawn with it.

alter table jobs add column cursor jsonb;
alter table jobs add column parent_id uuid;
create index jobs_of_parent on jobs (organization_id, parent_id, state) where parent_id is not null;

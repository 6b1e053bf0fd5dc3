-- A server takes so much in a time: messages a minute, requests in ten minutes, bytes. Whose published figures hold for a
-- profile, and what an administrator gives beside them or in their place; the figures themselves are data in the program.
alter table profiles
    add column rate_provider text not null default 'auto',
    add column rate_limits jsonb not null default '[]' check (jsonb_typeof(rate_limits) = 'array');

comment on column profiles.rate_provider is 'Whose figures: `auto` goes by the host names.';
comment on column profiles.rate_limits is '[{scope, unit, amount, window_seconds}]: of a scope, unit and window these pass over the figures.';

-- Credentials that are no passwords: an application that a token server knows (one per profile), the tokens that it gave
-- for a credential, and the links by which people are asked for their consent.
--
-- A token is a cache of what a token server would say again, so tokens are rows of their own beside the credential: many
-- workers read them, one at a time renews them, and `renewing_until` is that one's turn by Postgres's clock.

alter table credentials drop constraint credentials_kind_check;
alter table credentials add constraint credentials_kind_check
    check (kind in ('password', 'oauth2_client_credentials', 'oauth2_authorization_code'));
-- Only a password is sealed here.
alter table credentials alter column sealed drop not null;
alter table credentials alter column sealed_with drop not null;
alter table credentials add constraint credentials_sealed_check
    check ((kind = 'password') = (sealed is not null) and (sealed is null) = (sealed_with is null));

create table oauth_applications (
    organization_id uuid not null,
    profile_id uuid not null,
    -- What the secret is sealed for.
    id uuid not null,
    grant_type text not null check (grant_type in ('client_credentials', 'authorization_code')),
    -- Where people consent; none where nobody needs to.
    authorize_url text check ((authorize_url is null) = (grant_type = 'client_credentials')),
    token_url text not null,
    client_id text not null,
    scopes text not null,
    sealed bytea,
    sealed_with text,
    -- When the token server will not take the secret any more, as an administrator said.
    secret_expires_at timestamptz,
    -- The threshold in days that was warned of last.
    warned_days integer,
    version bigint not null default 1,
    modified_at timestamptz not null default now(),
    primary key (organization_id, profile_id),
    foreign key (organization_id, profile_id) references profiles on delete cascade
);

create table oauth_tokens (
    organization_id uuid not null,
    credential_id uuid not null,
    -- Raised by every token that is written: whoever asked with an older one writes nothing.
    generation bigint not null default 0,
    refresh_sealed bytea,
    refresh_sealed_with text,
    refresh_expires_at timestamptz,
    warned_days integer,
    access_sealed bytea,
    access_sealed_with text,
    access_expires_at timestamptz,
    -- Ahead of the expiry: from then on one worker renews it, and the others go on with it.
    renew_at timestamptz,
    renewing_until timestamptz,
    -- The token server could not be asked: nobody asks again before this.
    held_back_until timestamptz,
    -- The refresh token holds no longer: nothing is asked until somebody consents again.
    consent_needed_at timestamptz,
    primary key (organization_id, credential_id),
    foreign key (organization_id, credential_id) references credentials on delete cascade
);

-- One link: single use, bound to whom it is for and to who asked. The state itself is kept nowhere.
create table oauth_consents (
    organization_id uuid not null,
    id uuid not null,
    state_hash bytea not null check (length(state_hash) = 32),
    profile_id uuid not null,
    mailbox_id uuid,
    username text not null,
    redirect text not null,
    verifier_sealed bytea not null,
    verifier_sealed_with text not null,
    -- The change log's actor, as JSON.
    asked_by jsonb not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    primary key (organization_id, id),
    unique (organization_id, state_hash),
    foreign key (organization_id, profile_id) references profiles on delete cascade,
    foreign key (organization_id, mailbox_id) references mailboxes on delete cascade
);

create index oauth_consents_profile on oauth_consents (organization_id, profile_id);
create index oauth_consents_mailbox on oauth_consents (organization_id, mailbox_id) where mailbox_id is not null;

alter table profiles add column ca_expires_at timestamptz;
alter table profiles add column ca_warned_days integer;

do $$
declare
    tenant_table text;
begin
    foreach tenant_table in array array['oauth_applications', 'oauth_tokens', 'oauth_consents'] loop
        execute format('alter table %I enable row level security', tenant_table);
        execute format('alter table %I force row level security', tenant_table);
        execute format('create policy tenant on %I to lockstep_tenant
            using (organization_id = current_organization())
            with check (organization_id = current_organization())', tenant_table);
        execute format('grant select, insert, update, delete on %I to lockstep_tenant', tenant_table);
    end loop;
end
$$;

-- What expires soon, by times and ids: the scheduler's upkeep asks over all organizations.
create policy ring on oauth_applications for select to lockstep_ring using (true);
grant select (organization_id, profile_id, secret_expires_at, warned_days) on oauth_applications to lockstep_ring;
create policy ring on oauth_tokens for select to lockstep_ring using (true);
grant select (organization_id, credential_id, refresh_expires_at, warned_days) on oauth_tokens to lockstep_ring;
grant select (ca_expires_at, ca_warned_days) on profiles to lockstep_ring;

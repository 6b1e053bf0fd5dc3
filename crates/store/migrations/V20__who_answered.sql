-- What an authorization server calls itself, where it says so in every answer (RFC 9207): an answer that comes back under
-- another name, or under none, is not taken. None: it is not known to say so.

alter table oauth_applications add column issuer text check (issuer <> '');

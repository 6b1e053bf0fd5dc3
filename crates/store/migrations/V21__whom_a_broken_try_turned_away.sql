-- A connection that breaks after the final dot leaves in doubt whoever the server had taken at RCPT. Whom it had turned away
-- by then, for good or for now, is in no doubt: such a recipient must not become accepted when the email is marked as
-- sent, or when a report proves that it left.

alter table send_attempts
    -- Recipients of the try, by position, whom the server turned away before it ended in doubt.
    add column turned_away integer[] not null default '{}';
grant update (turned_away) on send_attempts to lockstep_tenant;

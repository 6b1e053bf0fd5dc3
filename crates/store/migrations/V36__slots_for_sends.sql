-- A worker keeps some of its slots for sends alone, so a session has as many places for sends as it has slots, and fewer for
-- everything else. What the scheduler takes shares of is counted for each.

-- Null: a session of a process that does not know the difference, whose slots are all the same.
alter table sessions add column send_slots integer check (send_slots >= 0);

comment on column sessions.slots is
    'Cycles of incoming mail and of appointments that the process can run at once: a profile''s share is taken of the sum over live sessions.';
comment on column sessions.send_slots is 'The same for sends.';

-- What the resource guard and the alert about our own parts rest on.

-- Claims that died while this item alone was in hand, in a row. The schedule row counts the deaths of a workload; only this
-- says which item is at fault.
alter table mailbox_items add column deaths integer not null default 0;

-- Since when each cycle of the workload was held back by one of our own parts: one such cycle is nobody's business, minutes
-- of them are an operator's.
alter table schedules add column held_since timestamptz;

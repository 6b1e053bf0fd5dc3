-- A row that is queued wrote a new entry into three indexes, and the pages of two of them are shared by every row of a workload or
-- of a profile. Now two, and one of those without a profile: what is in flight is counted by reading the rows.

drop index schedules_finished, schedules_in_flight;
-- What ended since the last scan and lies idle; what is in flight again by now is read with what is in flight.
create index schedules_finished on schedules (workload, last_finished_at) where not flying and last_finished_at is not null;
-- Counts what is in flight for the windows; the sweep reads it too. Entries of one workload stand in the order of their rows.
create index schedules_in_flight on schedules (workload) where flying;

-- How many cycles have worked at an endpoint since its server came back: one more than that may be tried at once, so that
-- what may be tried doubles with each round of answers, beginning with one. It was the number of outages in a row that
-- halved the window before, which let a large window begin with many after a short outage, and a small one stay at one for
-- long after a long outage. Zero while the server is down, and once it has come back altogether.

alter table endpoints add column worked integer not null default 0 check (worked >= 0);

comment on column endpoints.failures is
    'Outages in a row, which the next back-off doubles by; 1 from the first answer until the server has come back altogether.';

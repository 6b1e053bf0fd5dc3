-- The ends of cycles that changed nothing but their schedule row are written in one statement, whosever they are (decision 0065):
-- as the ring, which could take a cycle and give it back before, and could not count it.
grant update (quiet_cycles, failures, refusals, first_refused_at, held_since, last_outcome, last_items, last_finished_at)
    on schedules to lockstep_ring;

-- Of all received emails of an organization with one Message-ID, one alone carries no warning that it was reused. Two that
-- arrive in the same instant do not see each other; this index makes the second wait for the first and learn of it.

update emails e set warnings = array_append(e.warnings, 'message_id_reused')
where e.direction = 'incoming' and e.message_id is not null and not e.warnings @> array['message_id_reused']
  and exists (select from emails o
              where o.organization_id = e.organization_id and o.message_id = e.message_id
                and o.direction = 'incoming' and o.id < e.id);

create unique index emails_first_of_message_id on emails (organization_id, message_id)
    where direction = 'incoming' and message_id is not null and not warnings @> array['message_id_reused'];

-- The text of a received message was stored twice: by itself, and in the raw message beside it. Where it stands there word
-- for word, only the place is kept now (decision 0072): a quarter less to write and a third less log for each message.

alter table email_copies
    -- Where the text begins in the raw message, in bytes from 0, and how long it is there, with the line ends of mail.
    -- Null where no such place is: then it stands in text_body, or there is none.
    add column text_at integer check (text_at >= 0),
    add column text_length integer check (text_length > 0),
    add constraint email_copies_text_is_somewhere check (
        (text_at is null) = (text_length is null)
        and (text_at is null or (text_body is null and raw_sha256 is not null)));

-- The text of a copy, wherever it stands: nobody reads it otherwise. A text that has only a place lies within the first
-- chunk of its raw message. Whoever removes raw messages one day writes what this returns to text_body first.
create function copy_text(copy email_copies) returns text language sql stable as $$
    select case when copy.text_at is null then copy.text_body else (
        select replace(convert_from(substring(b.data from copy.text_at + 1 for copy.text_length), 'UTF8'), E'\r\n', E'\n')
        from blob_chunks b
        where b.organization_id = copy.organization_id and b.sha256 = copy.raw_sha256 and b.number = 0)
    end
$$;

-- A profile may lead to an Exchange server: one host and port for mail in and mail out, the path of its web service, and in
-- whose name it is asked.
alter table profiles drop constraint profiles_kind_check;
alter table profiles
    add column exchange_path text check (length(exchange_path) between 1 and 1000),
    add column exchange_access text check (exchange_access in ('impersonation', 'delegate', 'own')),
    add constraint profiles_kind_check check (kind in ('pop3_smtp', 'exchange_ews')),
    add constraint profiles_exchange_whole_check
        check ((kind = 'exchange_ews') = (exchange_path is not null and exchange_access is not null)),
    -- Whoever has credentials of his own asks in his own name, and nobody else does.
    add constraint profiles_exchange_asks_check check ((exchange_access = 'own') = (credentials_on = 'mailbox'));

//! Profiles, people and mailboxes on the private mail servers.

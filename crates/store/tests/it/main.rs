//! The store against a real Postgres: every test has a database of its own, and a login that row-level security binds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

// The name that every other crate knows it by.
extern crate lockstep_store as store;

mod away;
mod belonging;
mod exchange;
mod feed;
mod found;
mod identity;
mod incoming;
mod job_course;
mod job_schedules;
mod jobs;
mod leaving;
mod mailboxes;
mod migrations;
mod outgoing;
mod plans;
mod records;
mod reports;
mod ring;
mod roles;
mod sending_again;
mod sending_rights;
mod sessions;
mod support;
mod together;
mod tokens;
mod turned_away;
mod turns;
mod watches;
mod windows;
mod world;

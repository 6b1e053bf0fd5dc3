//! The whole system on real servers: each test has an installation of its own, with real `lockstep` processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod alarm;
mod autodiscover;
mod bad_input;
mod bad_profiles;
mod consent;
mod copied;
mod crashes;
mod deaths;
mod doubt;
mod enabling;
mod exchange;
mod exchange_deaths;
mod failing;
mod forgetting;
mod house;
mod isolation;
mod job_schedules;
mod jobs;
mod limits;
mod mapping;
mod operator;
mod private_lines;
mod reports;
mod ring;
mod road;
mod secrets;
mod shutdown;
mod spool;
mod telemetry;
mod watching;

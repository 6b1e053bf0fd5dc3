//! Cycles against real servers: Postgres, Dovecot and Postfix. No scheduler, broker or coordinator takes part: the tests
//! queue and claim as those would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

extern crate lockstep_cycle as cycle;

mod answers;
mod automatic;
mod examination;
mod failing;
mod fickle;
mod house;
mod identity;
mod incoming;
mod maildrop;
mod memory;
mod outgoing;
mod poison;
mod pop3;
mod pop3_codes;
mod pop3_deleting;
mod pop3_lies;
mod receipts;
mod refusals;
mod scripted;

//! Tests of the mail edge against real servers, and against scripted ones for what real servers never do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

// By the name that the rest of the workspace knows it by.
extern crate lockstep_mail as mail;

mod answers;
mod certificate;
mod ends;
mod ews_autodiscover;
mod ews_content;
mod ews_exchange;
mod ews_hostile;
mod ews_ntlm;
mod ews_script;
mod ews_session;
mod ews_streaming;
mod fuzz;
mod mime;
mod numbers;
mod pop3_dovecot;
mod pop3_fetching;
mod pop3_opening;
mod pop3_script;
mod reports;
mod smtp_envelope;
mod smtp_final_dot;
mod smtp_opening;
mod smtp_postfix;
mod smtp_script;
mod token_script;
mod tokens;

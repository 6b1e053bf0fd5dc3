//! The one binary of Lockstep: every role, the operator's commands and the administrator's.

#![expect(unreachable_pub, reason = "a binary has no outside: here `pub` means the crate")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks to people by printing")]

mod cli;
mod client;
mod command;
mod config;
mod roles;
mod shutdown;
mod table;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(why) = arranged_death() {
        eprintln!("lockstep: LOCKSTEP_CRASH_AT: {why}");
        return ExitCode::FAILURE;
    }
    // One provider for the whole process, chosen once: nothing else installs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lockstep: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(command::run(arguments));
    // Whatever a second signal left under way ends with the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lockstep: {failure}");
            failure.exit_code()
        }
    }
}

/// What the tests of crashes ask for; nothing in the builds that people run.
#[cfg(debug_assertions)]
fn arranged_death() -> Result<(), model::crash::Unarmed> {
    match std::env::var_os("LOCKSTEP_CRASH_AT") {
        Some(text) => model::crash::arm(&text.to_string_lossy()),
        None => Ok(()),
    }
}

#[cfg(not(debug_assertions))]
const fn arranged_death() -> Result<(), model::crash::Unarmed> {
    Ok(())
}

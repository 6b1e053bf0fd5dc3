//! `make demo`: shows real mail travelling in and out. `--once` ends after the summary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let once = std::env::args().skip(1).any(|argument| argument == "--once");
    lockstep_tests::demo::run(once).await
}

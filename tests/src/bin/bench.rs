//! `make bench`: measures Lockstep beside its ceilings and its peers, prints a table and writes
//! `target/bench/results.json`. It ends with an error when a figure could not be measured or a count was wrong, not when
//! a target was missed.

use std::path::Path;
use std::process::ExitCode;

use lockstep_tests::bench;

/// With names as arguments (`incoming`, `polls`, `scheduling`…) only those are measured; `lateness=600` says for how many
/// seconds.
#[tokio::main]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/results.json");
    if bench::run(&wanted, &results).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! `make chaos`: breaks everything that can break, in an order that a seed decides, and checks that nothing was lost,
//! doubled or forgotten. `chaos SECONDS SEED`.

use std::process::ExitCode;
use std::time::Duration;

use lockstep_tests::chaos;

/// Twenty minutes, when nobody says otherwise.
const SECONDS: u64 = 1200;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let seconds = arguments.next().unwrap_or(SECONDS);
    let seed = arguments.next().unwrap_or_else(|| u64::from_le_bytes(model::clock::random_bytes()));
    if chaos::run(seed, Duration::from_secs(seconds)).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

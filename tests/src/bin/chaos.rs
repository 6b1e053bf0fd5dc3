//! `make chaos`: breaks everything that can break, in an order that a seed decides, and checks that nothing was lost,
//! doubled or forgotten. `chaos SECONDS SEED`; twenty minutes, when nobody says otherwise.

use std::process::ExitCode;
use std::time::Duration;

use lockstep_tests::chaos;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let seconds = arguments.next().unwrap_or(chaos::WHOLE.as_secs());
    let seed = arguments.next().unwrap_or_else(|| u64::from_le_bytes(model::clock::random_bytes()));
    if chaos::run(seed, Duration::from_secs(seconds)).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

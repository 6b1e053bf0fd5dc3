//! The benchmarks: what Lockstep's present code does, beside a ceiling or a peer measured in the same run, on private
//! servers that are as durable as in production.
//!
//! A figure asserts what must be true of it (nothing lost, nothing twice, never one too many) before it may be shown. It
//! is never compared with a number from another machine: only ratios within one run mean something.

mod delay;
mod exchange;
mod figure;
mod house;
mod idle;
mod incoming;
mod lateness;
mod leases;
mod machine;
mod memory;
mod outgoing;
mod peers;
mod polls;
mod pop3;
mod python;
mod ring;
mod schedules;
mod scheduling;
mod sink;

use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::LocalSet;

use self::figure::{Line, table};
use self::machine::{Machine, Ticks};

/// What went wrong with a figure, in words.
pub(crate) type Trouble = Box<dyn std::error::Error + Send + Sync>;
/// The lines of the table that one measurement gives.
type Measured = Result<Vec<Line>, Trouble>;
type Measuring = fn() -> Pin<Box<dyn Future<Output = Measured>>>;

/// The measurements, by the names that one of them is asked for with.
const ALL: &[(&str, Measuring)] = &[
    ("incoming", || Box::pin(incoming::measure())),
    ("exchange", || Box::pin(exchange::measure())),
    ("polls", || Box::pin(polls::measure())),
    ("outgoing", || Box::pin(outgoing::measure())),
    ("memory", || Box::pin(memory::measure())),
    ("scheduling", || Box::pin(scheduling::measure())),
    ("lateness", || Box::pin(lateness::measure())),
    ("idle", || Box::pin(idle::measure())),
    ("ring", || Box::pin(ring::measure())),
    ("leases", || Box::pin(leases::measure())),
];

tokio::task_local! {
    /// What was asked of a measurement beside its name, as in `lateness=600`.
    static AMOUNT: Option<u64>;
}

/// How long or how many, where the measurement leaves that open; `usual` when nobody said.
fn amount(usual: u64) -> u64 {
    AMOUNT.get().unwrap_or(usual)
}

/// Measures what is `wanted` by name (everything when nothing is), prints the table, writes `results` and says whether
/// every figure was measured and every count was right.
pub async fn run(wanted: &[String], results: &Path) -> bool {
    let machine = Machine::look();
    say(&format!("{machine}\n"));
    let (mut lines, mut complete) = (Vec::new(), true);
    let chosen = ALL.iter().filter_map(|(name, measuring)| {
        let asked = wanted.iter().find(|asked| asked.split('=').next() == Some(*name));
        let amount = asked.and_then(|asked| amount_of(asked));
        (wanted.is_empty() || asked.is_some()).then_some((name, measuring, amount))
    });
    for (name, measuring, amount) in chosen {
        let (begun, ticks) = (Instant::now(), Ticks::now());
        // In a task of its own, so that one that panics costs only itself.
        let tasks = LocalSet::new();
        let measured = tasks.run_until(tasks.spawn_local(AMOUNT.scope(amount, measuring()))).await;
        let measured = measured.unwrap_or_else(|panic| Err(panic.into()));
        let took = begun.elapsed().as_secs();
        match measured {
            Ok(measured) => {
                let stolen = Ticks::now().stolen_since(ticks);
                say(&format!("{name}: measured in {took} s, while others had {stolen:.0}% of the cores"));
                lines.extend(measured);
            }
            Err(trouble) => {
                say(&format!("{name}: NOT measured, after {took} s: {trouble}"));
                complete = false;
            }
        }
    }
    say(&format!("\n{machine}\n\n{}", table(&lines, machine.cores)));
    let values: Vec<Value> = lines.iter().map(|line| line.json(machine.cores)).collect();
    match write(results, &Value::from(values)) {
        Ok(()) => complete,
        Err(error) => {
            say(&format!("{} cannot be written: {error}", results.display()));
            false
        }
    }
}

/// The amount that a measurement is asked for with: 600 of `lateness=600`.
fn amount_of(asked: &str) -> Option<u64> {
    asked.split_once('=')?.1.parse().ok()
}

fn write(path: &Path, value: &Value) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, format!("{value:#}\n"))
}

/// Things a second, until now.
fn rate(count: usize, since: Instant) -> f64 {
    per_second(count, since.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "what a person reads while it measures")]
fn say(text: &str) {
    println!("{text}");
}

//! Breaks messages of the corpus, or the answers of servers, at random and checks what holds however they are broken:
//! `make fuzz`, or with arguments `fuzz FIRST COUNT [mime|pop3|smtp]`. Tells the number of each case that fails; never
//! stops at the first.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who look for defects")]

// By the name that the rest of the workspace knows it by.
extern crate lockstep_mail as mail;

#[path = "../tests/it/answers.rs"]
mod answers;
#[path = "../tests/it/certificate.rs"]
mod certificate;
#[path = "../tests/it/mime/mutate.rs"]
mod mutate;
#[path = "../tests/it/numbers.rs"]
mod numbers;

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, StreamExt as _, stream};

/// Servers that play at the same time.
const LANES: u64 = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place).map(|argument| argument.parse::<u64>().unwrap());
    let (first, count) = (number(0).unwrap_or(0), number(1).unwrap_or(1_000_000));
    let failed = match arguments.get(2).map_or("mime", String::as_str) {
        "mime" => messages(first, count),
        what @ ("pop3" | "smtp") => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(answers(first, count, what == "pop3"))
        }
        other => panic!("`{other}` is neither mime nor pop3 nor smtp"),
    };
    println!("{count} cases, {failed} of them fail");
    assert!(failed == 0, "defects were found");
}

fn messages(first: u64, count: u64) -> u64 {
    let seeds = mutate::seeds();
    let fails = |number: &u64| {
        let raw = mutate::case(&seeds, *number);
        told(std::panic::catch_unwind(|| mutate::hold(&raw)).is_err(), *number)
    };
    (first..first + count).filter(fails).count() as u64
}

async fn answers(first: u64, count: u64, pop3: bool) -> u64 {
    let lanes = stream::iter(0..LANES).map(async |lane| {
        let mut server = answers::Fickle::start().await;
        let mut failed = 0;
        let mut number = first + lane;
        while number < first + count {
            let case = async { if pop3 { server.pop3(number).await } else { server.smtp(number).await } };
            if told(AssertUnwindSafe(case).catch_unwind().await.is_err(), number) {
                failed += 1;
                // What is left of the conversation must not meet the next.
                server = answers::Fickle::start().await;
            }
            number += LANES;
        }
        failed
    });
    lanes.buffer_unordered(usize::try_from(LANES).unwrap()).fold(0, async |sum, failed| sum + failed).await
}

fn told(fails: bool, number: u64) -> bool {
    if fails {
        println!("case {number} fails");
    }
    fails
}

//! Breaks messages of the corpus at random and checks what holds for every message: `make fuzz`, or with arguments
//! `fuzz FIRST COUNT`. Tells the number of each case that fails; never stops at the first.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people who look for defects")]

// By the name that the rest of the workspace knows it by.
extern crate lockstep_mail as mail;

#[path = "../tests/it/mime/mutate.rs"]
mod mutate;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let (first, count) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(1_000_000));
    let seeds = mutate::seeds();
    let mut failed = 0_u64;
    for number in first..first + count {
        let raw = mutate::case(&seeds, number);
        if std::panic::catch_unwind(|| mutate::hold(&raw)).is_err() {
            failed += 1;
            println!("case {number} fails");
        }
    }
    println!("{count} cases, {failed} of them fail");
    assert!(failed == 0, "defects were found");
}

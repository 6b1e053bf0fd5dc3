//! The table of the contract: every line against every provider, generated, committed and held against the code.

use std::fmt::Write as _;
use std::path::Path;

use crate::exchange::ExchangeEws;
use crate::lines;
use crate::pop3_smtp::Pop3Smtp;
use crate::provider::Provider;

/// A provider as a column.
struct Column {
    name: &'static str,
    lacks: fn(&str) -> Option<&'static str>,
}

const COLUMNS: &[Column] = &[
    Column { name: Pop3Smtp::NAME, lacks: Pop3Smtp::lacks },
    Column { name: ExchangeEws::NAME, lacks: ExchangeEws::lacks },
];

macro_rules! rows {
    ([] $($part:ident::$line:ident,)*) => {
        const ROWS: &[(&str, &str)] = &[$((stringify!($part), stringify!($line)),)*];
    };
}
lines!(rows!());

/// Run with `LOCKSTEP_BLESS=1` to write it anew.
#[test]
fn the_table_of_the_contract_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract.md");
    let expected = table();
    if std::env::var_os("LOCKSTEP_BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/contract.md is stale: run `LOCKSTEP_BLESS=1 cargo test -p lockstep-tests --test contract table`"
    );
}

fn table() -> String {
    let mut text = "# What every provider must do\n\n\
        Each line is a test that drives whole cycles against the provider's real servers (`tests/contract`); each column is \
        a provider. `✓` is a test that runs and must pass; a footnote says why a line means nothing for a provider.\n"
        .to_owned();
    let (mut part, mut notes) = ("", Vec::new());
    for (of, line) in ROWS {
        if *of != part {
            part = of;
            let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
            let (names, rule) = (names.join(" | "), " --- |".repeat(COLUMNS.len()));
            let _ = write!(text, "\n## {}\n\n| line | {names} |\n| --- |{rule}\n", titled(part));
        }
        let mut cells = String::new();
        for column in COLUMNS {
            match (column.lacks)(line) {
                None => cells.push_str(" ✓ |"),
                Some(why) => {
                    notes.push((column.name, why));
                    let _ = write!(cells, " – [{}] |", notes.len());
                }
            }
        }
        let _ = writeln!(text, "| {} |{cells}", line.replace('_', " "));
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for (number, (provider, why)) in notes.iter().enumerate() {
        let _ = writeln!(text, "[{}] {provider}: {why}.", number + 1);
    }
    text
}

fn titled(part: &str) -> String {
    let mut letters = part.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

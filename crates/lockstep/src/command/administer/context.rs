//! What every command has at hand: the API, and how to speak: one JSON document for programs, tables for people.

use std::io::Write as _;

use comfy_table::{Cell, Table};
use jiff::Timestamp;
use serde_json::Value;

use crate::client::{Api, Record};
use crate::command::Failure;
use crate::table::{self, Look};

/// One command's surroundings.
pub(super) struct Context<'a> {
    pub(super) api: &'a Api,
    pub(super) look: Look,
    pub(super) json: bool,
    now: Timestamp,
}

impl<'a> Context<'a> {
    pub(super) fn new(api: &'a Api, json: bool) -> Self {
        Self { api, look: Look::of_standard_output(), json, now: model::clock::now() }
    }

    /// Says something to a person or a program; a reader that has gone away is no failure.
    #[expect(clippy::unused_self, reason = "only who has a context may speak")]
    pub(super) fn say(&self, text: &str) {
        let mut output = std::io::stdout().lock();
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }

    /// Shows an answer: as it is to programs, in the given words to people.
    pub(super) fn show(&self, answer: &Value, words: impl FnOnce(Record<'_>) -> String) {
        if self.json {
            self.document(answer);
        } else {
            let mut text = words(Record(answer));
            if !text.ends_with('\n') {
                text.push('\n');
            }
            self.say(&text);
        }
    }

    /// Prints a JSON document.
    pub(super) fn document(&self, value: &Value) {
        self.say(&format!("{value:#}\n"));
    }

    /// Shows a list as a table, with what to do next when it is empty.
    pub(super) fn list(
        &self,
        page: &Value,
        columns: &[&str],
        empty: &str,
        row: impl Fn(Record<'_>) -> Vec<Cell>,
    ) {
        self.show(page, |page| {
            let items = page.items();
            if items.is_empty() {
                return empty.to_owned();
            }
            let mut table = self.look.table(columns);
            table.add_rows(items.into_iter().map(row));
            let mut text = table::drawn(&table);
            if page.at("next_cursor").is_some() {
                text.push_str("\n There are more: give --limit or --all.\n");
            }
            text
        });
    }

    /// A title with facts under it.
    pub(super) fn described(&self, title: &str, facts: &Table) -> String {
        format!("{}\n\n{}", self.look.title(title), table::drawn(facts))
    }

    /// How far a time lies from now; a dash when there is none.
    pub(super) fn ago(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(|| "-".to_owned(), |time| table::ago(time, self.now))
    }

    /// A time exactly and by its distance; empty when there is none.
    pub(super) fn when(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(String::new, |time| {
            format!("{} ({})", table::exact(time), table::ago(time, self.now))
        })
    }

    /// Whether a time has yet to come.
    pub(super) fn is_ahead(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| time > self.now)
    }
}

/// A refusal of the command line's own, with its remedy.
pub(super) fn refused(cause: &str, remedy: &str) -> Failure {
    Failure::Said(format!("{cause}\n  what to do: {remedy}"))
}

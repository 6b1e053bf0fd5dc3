//! Tables and words for people: how things look on a terminal, and as plain text when it goes elsewhere. Nothing here
//! knows what a noun means.

mod time;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, TableStyle};

pub use time::{ago, exact, lasting};

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As any other.
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be; it may pass.
    Uneasy,
    /// Wrong: a person should act.
    Bad,
    /// Of less interest.
    Quiet,
    /// To be seen first.
    Loud,
}

impl Tone {
    /// The tone of a state, by the names that the API uses.
    pub fn of(state: &str) -> Self {
        match state {
            "approved" | "success" | "succeeded" | "ok" | "sent" | "accepted" | "recorded" | "yes"
            | "done" => Self::Good,
            "pending" | "warning" | "deferred" | "delayed" | "unknown" | "snooze" | "canceled"
            | "too_large" | "not_accepted" | "sending" | "pending_send" => Self::Uneasy,
            "failed" | "failure" | "error" | "rejected" | "refused" | "bounced" | "undeliverable"
            | "stop" | "fail" => Self::Bad,
            "none" | "empty" | "not_run" | "idle" | "skipped" | "information" | "duplicate"
            | "before_the_floor" | "ignored_class" | "" | "-" => Self::Quiet,
            _ => Self::Plain,
        }
    }
}

/// How wide sentences are where there is no terminal.
const PAGE: u16 = 100;

/// Where the text goes: how wide it may be, and whether colours are understood.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    width: Option<u16>,
    colour: bool,
}

impl Look {
    /// What standard output is: a terminal of some width, or a file or pipe without colours and bounds.
    pub fn of_standard_output() -> Self {
        let terminal = console::Term::stdout();
        let width =
            if terminal.is_term() { terminal.size_checked().map(|(_, columns)| columns) } else { None };
        Self { width, colour: terminal.is_term() && console::colors_enabled() }
    }

    /// Text for a file or pipe.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { width: None, colour: false }
    }

    /// A table with these columns.
    pub fn table(self, columns: &[&str]) -> Table {
        let mut table = self.bare();
        table.set_header(
            columns.iter().map(|column| Cell::new(column.to_uppercase()).add_attribute(Attribute::Dim)),
        );
        for (column, name) in table.column_iter_mut().zip(columns) {
            // An id is copied as a whole.
            if *name == "id" {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    /// A table without columns of its own, for sentences: they are wrapped even where there is no terminal.
    pub fn prose(self) -> Table {
        Self { width: self.width.or(Some(PAGE)), ..self }.bare()
    }

    /// A table of facts: a name and a value per row. Values that are empty are left out.
    pub fn facts<N: AsRef<str>>(self, rows: impl IntoIterator<Item = (N, Cell)>) -> Table {
        let mut table = self.prose();
        for (name, value) in rows {
            if !value.content().is_empty() {
                table.add_row([Cell::new(name.as_ref()).add_attribute(Attribute::Dim), value]);
            }
        }
        table
    }

    /// A line that stands above what belongs to it.
    pub fn title(self, text: &str) -> String {
        console::Style::new().bold().force_styling(self.colour).apply_to(text).to_string()
    }

    /// A piece of running text in a tone.
    pub fn text(self, text: &str, tone: Tone) -> String {
        let style = console::Style::new().force_styling(self.colour);
        let style = match tone {
            Tone::Plain => style,
            Tone::Good => style.green(),
            Tone::Uneasy => style.yellow(),
            Tone::Bad => style.red(),
            Tone::Quiet => style.dim(),
            Tone::Loud => style.bold(),
        };
        style.apply_to(text).to_string()
    }

    fn bare(self) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).force_no_tty();
        match self.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colour {
            table.enforce_styling();
        }
        table
    }
}

/// A cell in a tone.
pub fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    let cell = Cell::new(text.into());
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Uneasy => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Quiet => cell.add_attribute(Attribute::Dim),
        Tone::Loud => cell.add_attribute(Attribute::Bold),
    }
}

/// A cell without a tone.
pub fn plain(text: impl Into<String>) -> Cell {
    cell(text, Tone::Plain)
}

/// A state in its own tone, in words.
pub fn state(name: &str) -> Cell {
    cell(words(name), Tone::of(name))
}

/// A name of the API as words: `pending_send` reads `pending send`.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A size in bytes, for people.
pub fn bytes(size: i64) -> String {
    match size {
        ..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{}.{} kB", size / 1_000, size % 1_000 / 100),
        _ => format!("{}.{} MB", size / 1_000_000, size % 1_000_000 / 100_000),
    }
}

/// A number with its noun, in the singular where it must be.
pub fn count(number: i64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// What a finished table looks like, without spaces at the ends of lines.
pub fn drawn(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_a_pipe_has_no_colours_and_keeps_long_lines() {
        let mut table = Look::plain().table(&["name", "state"]);
        let long = "a".repeat(200);
        table.add_row([plain(&long), state("pending_send")]);
        let text = drawn(&table);
        assert!(!text.contains('\u{1b}') && text.contains(&long) && text.contains("pending send"), "{text}");
        assert!(text.starts_with(" NAME"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_wraps_cells_and_keeps_within_its_width() {
        let look = Look { width: Some(40), colour: true };
        let text = drawn(&look.facts([("what", cell("word ".repeat(40), Tone::Bad)), ("empty", plain(""))]));
        for line in text.lines() {
            assert!(console::measure_text_width(line) <= 40, "{line}");
        }
        assert!(text.contains('\u{1b}') && !text.contains("empty"));
    }

    #[test]
    fn an_id_is_never_broken_over_two_lines() {
        let id = "01989c5e-7d5e-7cc0-8000-000000000000";
        let mut table = Look { width: Some(60), colour: false }.table(&["what", "id"]);
        table.add_row([plain("word ".repeat(20)), plain(id)]);
        assert!(drawn(&table).contains(id));
    }

    #[test]
    fn sizes_and_counts_read_like_language() {
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_234), bytes(25_650_000)],
            ["0 B", "999 B", "1.2 kB", "25.6 MB"]
        );
        assert_eq!(
            [count(1, "mailbox", "mailboxes"), count(0, "mailbox", "mailboxes")],
            ["1 mailbox", "0 mailboxes"]
        );
    }
}

//! A view of one JSON object of the API, by dotted paths. What is missing or null reads as nothing, so that a newer or
//! older API never breaks a table.

use jiff::Timestamp;
use serde_json::Value;

/// One object, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a>(pub &'a Value);

impl<'a> Record<'a> {
    /// What stands at a path such as `incoming.host`; null reads as none.
    pub fn at(self, path: &str) -> Option<&'a Value> {
        let found = path.split('.').try_fold(self.0, |value, name| value.get(name));
        found.filter(|value| !value.is_null())
    }

    /// A text; numbers and truth values as JSON writes them; empty when there is none. What could steer a terminal is made
    /// harmless: subjects and servers' words come from strangers.
    pub fn text(self, path: &str) -> String {
        match self.at(path) {
            Some(Value::String(text)) => harmless(text),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// A text that is not empty.
    pub fn filled(self, path: &str) -> Option<String> {
        Some(self.text(path)).filter(|text| !text.is_empty())
    }

    /// A whole number; 0 when there is none.
    pub fn number(self, path: &str) -> i64 {
        self.at(path).and_then(Value::as_i64).unwrap_or_default()
    }

    /// A truth value; false when there is none.
    pub fn flag(self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A point in time.
    pub fn time(self, path: &str) -> Option<Timestamp> {
        self.at(path)?.as_str()?.parse().ok()
    }

    /// The elements of an array; none when there is none.
    pub fn list(self, path: &str) -> Vec<Record<'a>> {
        self.at(path)
            .and_then(Value::as_array)
            .map(|items| items.iter().map(Record).collect())
            .unwrap_or_default()
    }

    /// The items of a page.
    pub fn items(self) -> Vec<Record<'a>> {
        self.list("items")
    }
}

fn harmless(text: &str) -> String {
    let steers = |letter: char| {
        (letter.is_control() && !matches!(letter, '\n' | '\t'))
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|letter| if steers(letter) { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_reads_as_nothing() {
        let value = serde_json::json!({"a": {"b": "c", "n": 3, "none": null}, "list": [{"x": true}]});
        let record = Record(&value);
        assert_eq!(record.text("a.b"), "c");
        assert_eq!((record.text("a.n"), record.number("a.n")), ("3".to_owned(), 3));
        assert_eq!((record.text("a.none"), record.filled("a.none")), (String::new(), None));
        assert_eq!((record.text("a.b.c.d"), record.number("x")), (String::new(), 0));
        assert!(record.list("list")[0].flag("x") && record.list("nothing").is_empty());
        assert!(record.time("a.b").is_none(), "what is no time is none");
    }

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        let value = serde_json::json!({"subject": "\u{1b}[2Jgone\u{202e}\u{7}\nnext"});
        assert_eq!(Record(&value).text("subject"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}\nnext");
    }
}

//! One line of the table: a figure, what it stands beside, and whether it reaches its target.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

/// A measured figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) figure: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// The ceiling or peer, measured in the same run and unit.
    pub(super) beside: Option<(String, f64)>,
    pub(super) target: Option<Target>,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// At least this part of what it stands beside.
    Ratio(f64),
    /// At least this much, on at least so many cores.
    Absolute(f64, usize),
    /// No more than this, in this unit.
    AtMost(f64, &'static str),
}

impl Line {
    /// A figure that stands for itself.
    pub(super) fn new(figure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { figure: figure.into(), value, unit, beside: None, target: None }
    }

    /// The same figure beside something else.
    pub(super) fn beside(&self, what: impl Into<String>, value: f64) -> Self {
        Self { beside: Some((what.into(), value)), target: None, ..self.clone() }
    }

    pub(super) fn reaching(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    pub(super) fn ratio(&self) -> Option<f64> {
        self.beside.as_ref().map(|(_, value)| self.value / value)
    }

    /// Whether the target is reached; none without one, and for an absolute one on fewer cores than it names.
    fn holds(&self, cores: usize) -> Option<bool> {
        match self.target? {
            Target::Ratio(least) => self.ratio().map(|ratio| ratio >= least),
            Target::Absolute(least, on) => (cores >= on).then_some(self.value >= least),
            Target::AtMost(most, _) => Some(self.value <= most),
        }
    }

    /// As `results.json` holds it.
    pub(super) fn json(&self, cores: usize) -> Value {
        #[derive(Serialize)]
        struct Beside<'a> {
            what: &'a str,
            value: f64,
        }
        json!({
            "figure": self.figure,
            "value": self.value,
            "unit": self.unit,
            "beside": self.beside.as_ref().map(|(what, value)| Beside { what, value: *value }),
            "ratio": self.ratio(),
            "target": self.target.map(Target::words),
            "holds": self.holds(cores),
        })
    }
}

impl Target {
    fn words(self) -> String {
        match self {
            Self::Ratio(least) => format!("≥ {least} ×"),
            Self::Absolute(least, cores) => format!("≥ {}/s on {cores} cores", grouped(least)),
            Self::AtMost(most, unit) => format!("≤ {} {unit}", grouped(most)),
        }
    }
}

/// The lines for people.
pub(super) fn table(lines: &[Line], cores: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["figure", "value", "unit", "beside", "its value", "ratio", "to reach", "holds"]);
    for line in lines {
        let (what, value) = line
            .beside
            .clone()
            .map_or_else(|| ("–".to_owned(), "–".to_owned()), |(what, value)| (what, grouped(value)));
        table.add_row([
            line.figure.clone(),
            grouped(line.value),
            line.unit.to_owned(),
            what,
            value,
            line.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            line.target.map_or_else(|| "–".to_owned(), Target::words),
            line.holds(cores).map_or("–", |holds| if holds { "yes" } else { "no" }).to_owned(),
        ]);
    }
    for number in [1, 4, 5] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// A number with a comma at every thousand, and a decimal only where it says something.
fn grouped(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    digits.char_indices().fold(String::new(), |mut text, (at, digit)| {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_or_not_and_an_absolute_one_is_silent_on_fewer_cores() {
        let line = Line::new("leases", 900.0, "1/s").beside("the script", 1000.0);
        assert_eq!(line.clone().reaching(Target::Ratio(0.8)).holds(1), Some(true));
        assert_eq!(line.clone().reaching(Target::Ratio(0.95)).holds(1), Some(false));
        assert_eq!(line.clone().reaching(Target::Absolute(1000.0, 4)).holds(4), Some(false));
        assert_eq!(line.clone().reaching(Target::Absolute(1000.0, 4)).holds(2), None);
        assert_eq!(line.holds(4), None);
    }

    #[test]
    fn numbers_are_grouped_for_people() {
        for (value, text) in [(4.25, "4.2"), (999.0, "999"), (1000.0, "1,000"), (12_345_678.0, "12,345,678")]
        {
            assert_eq!(grouped(value), text);
        }
    }
}

//! The conversations as they are written down under `texts/`, and how their gaps are filled.

use jiff::{Span, Timestamp};

use super::cast::{Correspondent, Language, PEOPLE, PRODUCTS};
use super::chance::Chance;

/// A conversation: what somebody outside writes, and writes again after an answer.
pub(super) struct Conversation<'a> {
    pub(super) subject: &'a str,
    /// The places of those it goes to, the first in To and the others in Cc.
    pub(super) recipients: Vec<usize>,
    /// What the first letter carries: `pdf`, `csv`, `png`.
    pub(super) files: Vec<&'a str>,
    pub(super) letters: Vec<&'a str>,
}

/// Every conversation of a language: blocks between lines of `====`, letters between lines of `--`, header lines
/// before the first letter.
pub(super) fn conversations(language: Language) -> Vec<Conversation<'static>> {
    language.texts().split("\n====\n").map(conversation).collect()
}

fn conversation(block: &str) -> Conversation<'_> {
    let mut read =
        Conversation { subject: "", recipients: Vec::new(), files: Vec::new(), letters: Vec::new() };
    let mut rest = block;
    while let Some((line, after)) = rest.split_once('\n') {
        let Some((name, value)) = line.split_once(": ") else { break };
        match name {
            "Subject" => read.subject = value,
            "For" => read.recipients = value.split(", ").filter_map(place).collect(),
            "Attach" => read.files = value.split(", ").collect(),
            _ => break,
        }
        rest = after;
    }
    read.letters = rest.split("\n--\n").map(str::trim).collect();
    read
}

fn place(local: &str) -> Option<usize> {
    PEOPLE.iter().position(|person| person.local == local)
}

/// What fills the gaps of one conversation, the same in all of its letters.
pub(super) struct Matter(Vec<(&'static str, String)>);

impl Matter {
    pub(super) fn new(chance: &mut Chance, number: usize, of: &Correspondent, begun: Timestamp) -> Self {
        let cents = chance.between(8_000, 4_000_000);
        let soon = begun.checked_add(Span::new().hours(24 * chance.between(5, 25))).unwrap_or(begun);
        Self(vec![
            ("{order}", format!("PO-{}", 26_000 + number)),
            ("{invoice}", format!("INV-{}", 2_026_000 + number)),
            ("{ticket}", format!("T-{}", 40_000 + number)),
            ("{product}", (*chance.pick(&PRODUCTS)).to_owned()),
            ("{quantity}", chance.between(2, 60).to_string()),
            ("{amount}", format!("EUR {}.{:02}", cents / 100, cents % 100)),
            ("{error}", chance.between(100, 999).to_string()),
            ("{city}", (*chance.pick(of.language.cities())).to_owned()),
            ("{day}", soon.strftime(of.language.day()).to_string()),
        ])
    }

    pub(super) fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (gap, value)| text.replace(gap, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::corpus::cast::CORRESPONDENTS;

    #[test]
    fn every_conversation_has_a_subject_a_recipient_and_letters_without_gaps() {
        let begun = Timestamp::UNIX_EPOCH;
        for correspondent in &CORRESPONDENTS {
            let matter = Matter::new(&mut Chance::new(1), 1, correspondent, begun);
            for conversation in conversations(correspondent.language) {
                assert!(!conversation.subject.is_empty() && !conversation.recipients.is_empty());
                assert!(conversation.files.iter().all(|file| ["pdf", "csv", "png"].contains(file)));
                for letter in &conversation.letters {
                    let filled = matter.fill(letter);
                    assert!(filled.len() > 20 && !filled.contains(['{', '}']), "{filled}");
                }
            }
        }
    }
}

//! What became of a message, in words: what its decision means, and what would change it. Nothing of a message stands in
//! these sentences but its size and its time.

use jiff::Timestamp;

use crate::accept::Rule;
use crate::email::Decision;

/// One megabyte of the setting `max_message_mb`.
const MEGABYTE: u64 = 1024 * 1024;

/// What is known about an item and its mailbox when somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// When the server received it.
    pub received: Option<Timestamp>,
    /// In bytes.
    pub size: u64,
    /// How often it was tried and failed.
    pub attempts: i32,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// The floor of today, which may have been another when it was decided about.
    pub floor: Option<Timestamp>,
    /// The limit of today, in bytes.
    pub limit: u64,
    /// Whether the server lists it no longer.
    pub gone: bool,
    /// Whether somebody asked for it to be examined again.
    pub again: bool,
}

/// Two answers for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was decided and why.
    pub meaning: String,
    /// What would change it, or that nothing needs to.
    pub remedy: String,
}

/// What a decision and its rule mean, and what would change it.
pub fn explained(decision: Decision, rule: &str, facts: &Circumstances) -> Explanation {
    let meaning = meaning(decision, rule.parse().ok(), facts);
    let remedy = if facts.again {
        "It is to be examined again: the next incoming cycle of the mailbox fetches and judges it anew."
            .to_owned()
    } else if facts.gone && is_passed_over(decision) {
        "Nothing any more: the server lists it no longer, so that it cannot be fetched.".to_owned()
    } else {
        remedy(decision, rule.parse().ok(), facts)
    };
    Explanation { meaning, remedy }
}

/// Whether a mailbox could still take an item that was decided about so, under another rule.
pub const fn is_passed_over(decision: Decision) -> bool {
    matches!(
        decision,
        Decision::NotAccepted | Decision::BeforeTheFloor | Decision::TooLarge | Decision::Undeliverable
    )
}

fn meaning(decision: Decision, rule: Option<Rule>, facts: &Circumstances) -> String {
    match (decision, rule) {
        (Decision::Recorded, Some(Rule::All)) => {
            "It became an email: the mailbox takes every message.".to_owned()
        }
        (Decision::Recorded, Some(Rule::Reply)) => {
            "It became an email: it answers one that was sent from here.".to_owned()
        }
        (Decision::Recorded, Some(Rule::KnownSender)) => {
            "It became an email: its sender is known here.".to_owned()
        }
        (Decision::Recorded, Some(Rule::DeliveryReport)) => {
            "It is a delivery report and joined the sent email that it speaks of.".to_owned()
        }
        (Decision::Recorded, Some(Rule::ReadReceipt)) => {
            "It is a read receipt and joined the sent email that it speaks of.".to_owned()
        }
        (Decision::Recorded, _) => "It became an email.".to_owned(),
        (Decision::Duplicate, _) => {
            "The mailbox had the same email with the same content before, so nothing was added.".to_owned()
        }
        (Decision::NotAccepted, Some(Rule::Nothing)) => {
            "The mailbox took no mail at all when it came; nothing of it was stored.".to_owned()
        }
        (Decision::NotAccepted, _) => {
            "Its sender was not known here and it answered no email that was sent from here; nothing of it was stored."
                .to_owned()
        }
        (Decision::BeforeTheFloor, _) => {
            let received = facts.received.map(|at| format!(" ({at:.0})")).unwrap_or_default();
            let floor = facts.floor.map(|at| format!(", which is {at:.0} today")).unwrap_or_default();
            format!(
                "It was received{received} before the time from which on the mailbox's mail is processed{floor}; \
                 nothing of it was stored."
            )
        }
        (Decision::TooLarge, _) => format!(
            "It has {} MB, and the limit was lower; it was not read and stays on the server. The limit is {} MB today.",
            facts.size.div_ceil(MEGABYTE),
            facts.limit / MEGABYTE
        ),
        (Decision::Failed, _) => {
            let times = if facts.attempts == 1 { "once".to_owned() } else { format!("{} times", facts.attempts) };
            let next = facts.next_try.map(|at| format!(" It is tried again from {at:.0} on.")).unwrap_or_default();
            format!("It could not be read or stored, {times} so far.{next}")
        }
        (Decision::Undeliverable, _) => {
            "It could not be read or stored in five tries and was given up. It stays on the server.".to_owned()
        }
        (Decision::IgnoredClass, Some(Rule::Meeting)) => {
            "It is about a meeting: what becomes of it belongs to the appointments of the mailbox.".to_owned()
        }
        (Decision::IgnoredClass, Some(Rule::ItemClass)) => {
            "It is no message, although it lies among them.".to_owned()
        }
        (Decision::IgnoredClass, _) => {
            "It is of a kind that another workload takes care of, or none.".to_owned()
        }
    }
}

fn remedy(decision: Decision, rule: Option<Rule>, facts: &Circumstances) -> String {
    const AGAIN: &str = "have the mailbox examined again: lockstep mailbox re-examine";
    match (decision, rule) {
        (Decision::Recorded | Decision::Duplicate | Decision::IgnoredClass, _) => {
            "Nothing needs to be done.".to_owned()
        }
        (Decision::Failed, _) => "Nothing yet: after five tries it is given up, with an alert.".to_owned(),
        (Decision::NotAccepted, Some(Rule::Nothing)) => {
            format!("Set the mailbox's acceptance to `known_senders_and_replies` or `all`, then {AGAIN}")
        }
        (Decision::NotAccepted, _) => {
            format!("Make its sender a contact or set the mailbox's acceptance to `all`, then {AGAIN}")
        }
        (Decision::BeforeTheFloor, _) => format!(
            "Set `process_email_received_after` of the mailbox, and of its profile where that is later, to an earlier \
             time, then {AGAIN}"
        ),
        (Decision::TooLarge, _) if facts.size <= facts.limit => {
            format!("The limit is high enough now: {AGAIN}")
        }
        (Decision::TooLarge, _) => format!("Raise the setting `max_message_mb`, then {AGAIN}"),
        (Decision::Undeliverable, _) => format!("Mend what the last error names, then {AGAIN}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Circumstances {
        Circumstances {
            received: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
            size: 30 * MEGABYTE - 1,
            attempts: 2,
            next_try: Some("2026-01-02T04:00:00Z".parse().unwrap()),
            floor: Some("2026-02-01T00:00:00Z".parse().unwrap()),
            limit: 25 * MEGABYTE,
            ..Circumstances::default()
        }
    }

    #[test]
    fn every_decision_under_every_rule_says_what_it_means_and_what_would_change_it() {
        for decision in Decision::ALL {
            for rule in Rule::ALL.iter().map(|rule| rule.as_str()).chain(["a rule of later days"]) {
                for facts in [facts(), Circumstances::default()] {
                    let Explanation { meaning, remedy } = explained(*decision, rule, &facts);
                    assert!(meaning.ends_with('.') && meaning.len() > 15, "{decision} {rule}: {meaning}");
                    assert!(remedy.len() > 15, "{decision} {rule}: {remedy}");
                    assert_eq!(
                        remedy.contains("lockstep mailbox re-examine"),
                        is_passed_over(*decision),
                        "{decision} {rule}: {remedy}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_words_name_what_stood_in_the_way() {
        let meaning = |decision, rule: Rule| explained(decision, rule.as_str(), &facts()).meaning;
        for (decision, rule, words) in [
            (Decision::Recorded, Rule::Reply, "answers one that was sent from here"),
            (Decision::Recorded, Rule::KnownSender, "sender is known"),
            (Decision::NotAccepted, Rule::Nothing, "no mail at all"),
            (Decision::NotAccepted, Rule::KnownSendersAndReplies, "not known here"),
            (Decision::BeforeTheFloor, Rule::Floor, "(2026-01-02T03:04:05Z) before"),
            (Decision::BeforeTheFloor, Rule::Floor, "2026-02-01T00:00:00Z today"),
            (Decision::TooLarge, Rule::Size, "It has 30 MB"),
            (Decision::TooLarge, Rule::Size, "25 MB today"),
            (Decision::Failed, Rule::Fetch, "2 times so far. It is tried again from 2026-01-02T04:00:00Z"),
        ] {
            let said = meaning(decision, rule);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn what_is_gone_cannot_be_taken_and_what_is_asked_for_needs_nothing_more() {
        let remedy = |decision, gone, again| {
            explained(decision, "none", &Circumstances { gone, again, ..facts() }).remedy
        };
        assert!(remedy(Decision::NotAccepted, true, false).contains("lists it no longer"));
        assert!(remedy(Decision::Recorded, true, false).contains("Nothing needs to be done"));
        assert!(remedy(Decision::NotAccepted, false, true).contains("next incoming cycle"));
    }

    #[test]
    fn a_limit_that_was_raised_since_is_no_longer_in_the_way() {
        let facts = Circumstances { limit: 50 * MEGABYTE, ..facts() };
        assert!(
            explained(Decision::TooLarge, "max_message_mb", &facts).remedy.starts_with("The limit is high")
        );
    }
}

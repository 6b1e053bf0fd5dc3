//! Which incoming messages become records: one question, asked for every message from the first day.

use jiff::Timestamp;

use crate::email::Decision;
use crate::mailbox::Acceptance;
use crate::names::names;

names! {
    /// What decided about an item.
    "rule" Rule {
        /// The policy takes every message.
        All = "all",
        /// The policy takes none.
        Nothing = "none",
        /// It answers mail of the organization.
        Reply = "reply",
        /// The organization knows its sender.
        KnownSender = "known_sender",
        /// Neither of these two, where one is asked for.
        KnownSendersAndReplies = "known_senders_and_replies",
        /// The floor.
        Floor = "process_email_received_after",
        /// The limit of its size.
        Size = "max_message_mb",
        /// It reports how an email of the mailbox fared.
        DeliveryReport = "delivery_report",
        /// It says that an email of the mailbox was read.
        ReadReceipt = "read_receipt",
        /// It did not come through.
        Fetch = "fetch",
        /// It is about a meeting, which synchronizing appointments takes care of.
        Meeting = "meeting",
        /// It is no message, whatever lies in the folder.
        ItemClass = "item_class",
    }
}

/// What is known of a message before it is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the server received it, as far as anyone can tell.
    pub received: Option<Timestamp>,
    /// Nothing received before this is processed: the later of the profile's and the mailbox's.
    pub floor: Option<Timestamp>,
    /// The sender's address belongs to someone the organization knows.
    pub known_sender: bool,
    /// It answers an email of the organization.
    pub reply: bool,
}

/// The answer, with the rule that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// None when the message is to be recorded.
    pub refused: Option<Decision>,
    /// Which rule spoke, for people who ask why.
    pub rule: Rule,
}

/// Whether a message is too old to be processed. Mail tells its time in whole seconds, so what came within the floor's own
/// second is not older; without a date nothing is.
pub fn before_the_floor(received: Option<Timestamp>, floor: Option<Timestamp>) -> bool {
    matches!((received, floor), (Some(received), Some(floor)) if received.as_second() < floor.as_second())
}

/// Judges a message. Without a date it is not older than the floor: losing mail is worse than keeping some.
pub fn accept(policy: Acceptance, facts: &Facts) -> Verdict {
    if before_the_floor(facts.received, facts.floor) {
        return Verdict { refused: Some(Decision::BeforeTheFloor), rule: Rule::Floor };
    }
    match policy {
        Acceptance::All => Verdict { refused: None, rule: Rule::All },
        Acceptance::None => Verdict { refused: Some(Decision::NotAccepted), rule: Rule::Nothing },
        Acceptance::KnownSendersAndReplies if facts.reply => Verdict { refused: None, rule: Rule::Reply },
        Acceptance::KnownSendersAndReplies if facts.known_sender => {
            Verdict { refused: None, rule: Rule::KnownSender }
        }
        Acceptance::KnownSendersAndReplies => {
            Verdict { refused: Some(Decision::NotAccepted), rule: Rule::KnownSendersAndReplies }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Acceptance::{All, KnownSendersAndReplies as Known, None as Nothing};

    #[test]
    fn the_policies_speak_as_their_names_say() {
        let stranger = Facts::default();
        let known = Facts { known_sender: true, ..stranger };
        let reply = Facts { reply: true, ..stranger };
        for (policy, facts, refused) in [
            (All, stranger, None),
            (Known, stranger, Some(Decision::NotAccepted)),
            (Known, known, None),
            (Known, reply, None),
            (Nothing, known, Some(Decision::NotAccepted)),
            (Nothing, reply, Some(Decision::NotAccepted)),
        ] {
            assert_eq!(accept(policy, &facts).refused, refused, "{policy} {facts:?}");
        }
    }

    #[test]
    fn the_floor_comes_before_every_policy_and_needs_a_date() {
        let second = |second| Some(Timestamp::from_second(second).unwrap());
        for (received, floor, refused) in [
            (second(99), second(100), Some(Decision::BeforeTheFloor)),
            (second(100), second(100), None),
            (second(101), second(100), None),
            (second(100), Some(Timestamp::from_millisecond(100_999).unwrap()), None),
            (second(99), Some(Timestamp::from_millisecond(100_999).unwrap()), Some(Decision::BeforeTheFloor)),
            (None, second(100), None),
            (second(1), None, None),
        ] {
            let facts = Facts { received, floor, reply: true, ..Facts::default() };
            assert_eq!(accept(Acceptance::All, &facts).refused, refused);
        }
    }
}

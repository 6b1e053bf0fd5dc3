//! The states an email, its recipients and its sending go through (design section 6).

use std::time::Duration;

use crate::names::names;

names! {
    /// Which way an email travelled.
    "direction" Direction {
        /// From a mail server into the records.
        Incoming = "incoming",
        /// From the records out to a mail server.
        Outgoing = "outgoing",
    }

    /// Where an email stands.
    "email state" EmailState {
        /// Came in.
        Received = "received",
        /// Can be edited; nobody asked for it to be sent.
        Draft = "draft",
        /// A send request exists and waits for its turn.
        PendingSend = "pending_send",
        /// Committed before the message leaves: a try is under way.
        Sending = "sending",
        /// No recipient waits any more and at least one was accepted.
        Sent = "sent",
        /// No recipient waits any more and none was accepted.
        Failed = "failed",
        /// The server may or may not have taken it; nothing happens until a person or a late answer decides.
        Unknown = "unknown",
    }

    /// What a party is to an email.
    "party role" PartyRole {
        /// Author.
        From = "from",
        /// Who transmitted it, when not the author.
        Sender = "sender",
        /// Where answers go.
        ReplyTo = "reply_to",
        /// Addressed.
        To = "to",
        /// Informed.
        Cc = "cc",
        /// Informed without the others knowing.
        Bcc = "bcc",
    }

    /// Where one recipient of a send request stands.
    "recipient state" RecipientState {
        /// Not tried yet.
        Waiting = "waiting",
        /// The server took responsibility for it.
        Accepted = "accepted",
        /// Refused for now; tried again later.
        Deferred = "deferred",
        /// Refused for good.
        Refused = "refused",
        /// Accepted first; a server further on reports that it still tries.
        Delayed = "delayed",
        /// Accepted first, reported undeliverable later.
        Bounced = "bounced",
        /// A person withdrew it before it left.
        Canceled = "canceled",
    }

    /// What was decided about an item seen in a mailbox.
    "decision" Decision {
        /// Became an email, or joined one: as a receipt for the first time, or as a report of what became of it.
        Recorded = "recorded",
        /// The mailbox already had a receipt of it, or it is a report that was read before.
        Duplicate = "duplicate",
        /// The acceptance policy said no; no content is stored.
        NotAccepted = "not_accepted",
        /// Received before the floor; no content is stored.
        BeforeTheFloor = "before_the_floor",
        /// Larger than the limit: recorded from its headers or not at all, and never deleted on the server.
        TooLarge = "too_large",
        /// Failed and tried again from its row.
        Failed = "failed",
        /// Failed for the last time.
        Undeliverable = "undeliverable",
        /// Of a class that another workload handles or nobody does.
        IgnoredClass = "ignored_class",
    }

    /// How a try to hand a message to a server ended.
    "send answer" SendAnswer {
        /// The server took it, for at least one recipient.
        Accepted = "accepted",
        /// The server answered and took it for nobody.
        NotAccepted = "not_accepted",
        /// It never left: the connection ended before the final dot.
        NotSent = "not_sent",
        /// It may have left: no answer after the final dot.
        Unknown = "unknown",
    }

    /// What a try that has ended may have left at the server under its name, to be removed there.
    "leftover" Leftover {
        /// The draft from which it was to be sent.
        Draft = "draft",
        /// The copy of what was sent, where none is to stay.
        Copy = "copy",
    }
}

/// The state of an email whose recipients stand like this, once no try is under way: pending while one waits or is
/// deferred, sent when none does and one was accepted, failed when none was (design section 6). A bounce undoes what was
/// accepted: nobody has an email that bounced for everybody.
pub fn settled(recipients: impl IntoIterator<Item = RecipientState>) -> EmailState {
    let (mut waiting, mut accepted) = (false, false);
    for state in recipients {
        match state {
            RecipientState::Waiting | RecipientState::Deferred => waiting = true,
            RecipientState::Accepted | RecipientState::Delayed => accepted = true,
            RecipientState::Refused | RecipientState::Bounced | RecipientState::Canceled => {}
        }
    }
    match (waiting, accepted) {
        (true, _) => EmailState::PendingSend,
        (false, true) => EmailState::Sent,
        (false, false) => EmailState::Failed,
    }
}

/// How long after this many tries a deferred recipient is tried again: 5 minutes, doubled each time, at most an hour.
pub fn retry_after(tries: u32) -> Duration {
    Duration::from_secs((300 << tries.saturating_sub(1).min(4)).min(3600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecipientState::{Accepted, Bounced, Canceled, Deferred, Delayed, Refused, Waiting};

    #[test]
    fn an_email_is_settled_by_what_its_recipients_still_wait_for() {
        for (recipients, state) in [
            (vec![Waiting], EmailState::PendingSend),
            (vec![Accepted, Deferred], EmailState::PendingSend),
            (vec![Refused, Waiting], EmailState::PendingSend),
            (vec![Accepted], EmailState::Sent),
            (vec![Accepted, Refused], EmailState::Sent),
            (vec![Accepted, Canceled], EmailState::Sent),
            (vec![Delayed], EmailState::Sent),
            (vec![Accepted, Bounced], EmailState::Sent),
            (vec![Bounced, Refused], EmailState::Failed),
            (vec![Bounced, Deferred], EmailState::PendingSend),
            (vec![Refused, Refused], EmailState::Failed),
            (vec![Canceled], EmailState::Failed),
            (vec![], EmailState::Failed),
        ] {
            assert_eq!(settled(recipients.clone()), state, "{recipients:?}");
        }
    }

    #[test]
    fn a_deferred_recipient_is_tried_again_ever_later_and_at_least_every_hour() {
        let minutes: Vec<u64> = (0..8).map(|tries| retry_after(tries).as_secs() / 60).collect();
        assert_eq!(minutes, [5, 5, 10, 20, 40, 60, 60, 60]);
    }
}

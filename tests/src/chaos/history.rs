//! What happened, from both sides, and what of it must never be: the mail servers' own files and the proxies' counts on
//! one side, the store on the other. Pure: it looks at what was gathered and asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Everything that is held against everything else, once nothing is under way any more.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was put into mailboxes on the server.
    pub delivered: Vec<Delivered>,
    /// One entry for each receipt of an incoming email.
    pub recorded: Vec<Delivered>,
    /// Incoming emails without any receipt.
    pub without_receipt: usize,
    /// Items of mailboxes that are neither recorded nor duplicates, in words.
    pub undecided: Vec<String>,
    /// The ids of the emails that the API said it would send.
    pub taken: BTreeSet<String>,
    /// What the store has of sends: everything that is no draft.
    pub sends: Vec<Send>,
    /// What arrived at the recipients, once for each copy.
    pub arrived: Vec<Arrived>,
    /// The most connections that each server ever counted, with its limit.
    pub connections: Vec<Connections>,
    /// Rows of the ring that are not where they should be, in words.
    pub off_schedule: Vec<String>,
    /// Leases that are held, waited for or in doubt.
    pub leases: usize,
    /// Where a secret was seen.
    pub leaks: Vec<String>,
}

/// A message of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivered {
    /// The mailbox's address.
    pub mailbox: String,
    /// Its Message-ID, without angle brackets.
    pub message_id: String,
}

/// A copy at a recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrived {
    /// The recipient's address.
    pub recipient: String,
    /// Its Message-ID, without angle brackets.
    pub message_id: String,
}

/// An email that somebody asked to be sent.
#[derive(Clone, Debug, Default)]
pub struct Send {
    /// Its id.
    pub email: String,
    /// Its state.
    pub state: String,
    /// Whether it is marked as possibly sent twice.
    pub maybe_duplicate: bool,
    /// The Message-IDs of its send requests.
    pub message_ids: Vec<String>,
    /// The addresses of its recipients.
    pub recipients: Vec<String>,
    /// The kinds of its open alerts.
    pub alerts: Vec<String>,
}

/// How many connections a server had at most.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Which server.
    pub server: String,
    /// The most at one time.
    pub most: usize,
    /// What is allowed.
    pub limit: usize,
}

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A message of the source is not in the store.
    Lost(Delivered),
    /// It is there more than once.
    Doubled(Delivered, usize),
    /// The store has a message that nobody put there.
    FromNowhere(Delivered),
    /// An email without a receipt.
    Orphans(usize),
    /// An item of which it is not decided what it is.
    Undecided(String),
    /// A send that the API answered for, and of which the store knows nothing.
    Forgotten(String),
    /// Sent, they say, and it is not there.
    NeverArrived(Arrived),
    /// It was received more than once and nobody was told.
    SentTwice(Arrived, usize),
    /// It was received although they say that it was not sent.
    NotSentButArrived(Arrived),
    /// In doubt, and nobody was told.
    DoubtUntold(String),
    /// A send that has no end, or one that it should not have.
    WrongEnd(String, String),
    /// A recipient has a message that nobody sent.
    SentByNobody(Arrived),
    /// A server had more connections than it may have.
    TooManyConnections(String, usize, usize),
    /// Work that nobody will do.
    OffSchedule(String),
    /// Leases that are not free.
    Leaked(usize),
    /// A secret where it does not belong.
    Told(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Doubled(what, times) => write!(f, "recorded {times} times: {what}"),
            Self::FromNowhere(what) => write!(f, "recorded, and never delivered: {what}"),
            Self::Orphans(count) => write!(f, "{count} incoming emails have no receipt"),
            Self::Undecided(what) => write!(f, "an item without a good decision: {what}"),
            Self::Forgotten(email) => {
                write!(f, "the API took the send of email {email}, which is not on its way")
            }
            Self::NeverArrived(what) => write!(f, "said to be sent, and not received: {what}"),
            Self::SentTwice(what, times) => write!(f, "received {times} times without a word: {what}"),
            Self::NotSentButArrived(what) => write!(f, "said to be not sent, and received: {what}"),
            Self::DoubtUntold(email) => write!(f, "email {email} is in doubt, and nobody is told"),
            Self::WrongEnd(email, state) => write!(f, "email {email} is {state} in the end"),
            Self::SentByNobody(what) => write!(f, "received, and sent by nobody: {what}"),
            Self::TooManyConnections(server, most, limit) => {
                write!(f, "{server} had {most} connections at once, and may have {limit}")
            }
            Self::OffSchedule(what) => write!(f, "off schedule: {what}"),
            Self::Leaked(count) => write!(f, "{count} leases are not free"),
            Self::Told(place) => write!(f, "a secret is told by {place}"),
        }
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.message_id, self.mailbox)
    }
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.message_id, self.recipient)
    }
}

/// Everything in the history that must never be.
pub fn violations(history: &History) -> Vec<Violation> {
    let mut found = incoming(history);
    found.extend(outgoing(history));
    let over = history.connections.iter().filter(|connections| connections.most > connections.limit);
    found.extend(over.map(|connections| {
        let Connections { server, most, limit } = connections;
        Violation::TooManyConnections(server.clone(), *most, *limit)
    }));
    found.extend(history.off_schedule.iter().cloned().map(Violation::OffSchedule));
    found.extend((history.leases > 0).then_some(Violation::Leaked(history.leases)));
    found.extend(history.leaks.iter().cloned().map(Violation::Told));
    found
}

/// Every message of the source is in the store exactly once.
fn incoming(history: &History) -> Vec<Violation> {
    let recorded = counted(&history.recorded);
    let delivered: BTreeSet<&Delivered> = history.delivered.iter().collect();
    let mut found = Vec::new();
    for message in &delivered {
        match recorded.get(message) {
            Some(1) => {}
            Some(times) => found.push(Violation::Doubled((*message).clone(), *times)),
            None => found.push(Violation::Lost((*message).clone())),
        }
    }
    let strangers = recorded.keys().filter(|message| !delivered.contains(*message));
    found.extend(strangers.map(|message| Violation::FromNowhere((*message).clone())));
    found.extend((history.without_receipt > 0).then_some(Violation::Orphans(history.without_receipt)));
    found.extend(history.undecided.iter().cloned().map(Violation::Undecided));
    found
}

/// Every email that was sent arrived exactly once, or the doubt about it is told.
fn outgoing(history: &History) -> Vec<Violation> {
    let arrived = counted(&history.arrived);
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for send in &history.sends {
        let told = |kind: &str| send.alerts.iter().any(|alert| alert == kind);
        match send.state.as_str() {
            "unknown" if !told("send_unknown") => found.push(Violation::DoubtUntold(send.email.clone())),
            "sent" | "unknown" => {}
            other => found.push(Violation::WrongEnd(send.email.clone(), other.to_owned())),
        }
        for recipient in &send.recipients {
            let mut copies = 0;
            for message_id in &send.message_ids {
                let one = Arrived { recipient: recipient.clone(), message_id: message_id.clone() };
                copies += arrived.get(&one).copied().unwrap_or_default();
                known.insert(one);
            }
            let what = Arrived {
                recipient: recipient.clone(),
                message_id: send.message_ids.first().cloned().unwrap_or_default(),
            };
            let confessed = send.maybe_duplicate && told("maybe_sent_twice");
            match (send.state.as_str(), copies) {
                ("sent", 0) => found.push(Violation::NeverArrived(what)),
                ("sent" | "unknown", 1) | (_, 0) => {}
                (_, times) if times > 1 && !confessed => found.push(Violation::SentTwice(what, times)),
                ("sent" | "unknown", _) => {}
                _ => found.push(Violation::NotSentButArrived(what)),
            }
        }
    }
    let asked: BTreeSet<&String> = history.sends.iter().map(|send| &send.email).collect();
    let forgotten = history.taken.iter().filter(|email| !asked.contains(email));
    found.extend(forgotten.cloned().map(Violation::Forgotten));
    let strangers = arrived.keys().filter(|copy| !known.contains(**copy));
    found.extend(strangers.map(|copy| Violation::SentByNobody((*copy).clone())));
    found
}

fn counted<T: Ord>(all: &[T]) -> BTreeMap<&T, usize> {
    let mut counts = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Delivered {
        Delivered { mailbox: "anna@x".into(), message_id: id.into() }
    }

    fn copy(id: &str) -> Arrived {
        Arrived { recipient: "bert@y".into(), message_id: id.into() }
    }

    fn send(id: &str, state: &str, alerts: &[&str]) -> Send {
        Send {
            email: format!("email {id}"),
            state: state.into(),
            maybe_duplicate: alerts.contains(&"maybe_sent_twice"),
            message_ids: vec![id.into()],
            recipients: vec!["bert@y".into()],
            alerts: alerts.iter().map(|alert| (*alert).to_owned()).collect(),
        }
    }

    fn good() -> History {
        History {
            delivered: vec![message("a"), message("b")],
            recorded: vec![message("b"), message("a")],
            taken: ["email c", "email d"].map(str::to_owned).into(),
            sends: vec![send("c", "sent", &[]), send("d", "unknown", &["send_unknown"])],
            arrived: vec![copy("c")],
            connections: vec![Connections { server: "POP3".into(), most: 2, limit: 2 }],
            ..History::default()
        }
    }

    /// Each error that can be planted, and what must be said of it.
    #[test]
    fn every_planted_error_is_found() {
        type Plant = fn(&mut History);
        let table: &[(Plant, Violation)] = &[
            (|h| drop(h.recorded.pop()), Violation::Lost(message("a"))),
            (|h| h.recorded.push(message("a")), Violation::Doubled(message("a"), 2)),
            (|h| h.recorded.push(message("z")), Violation::FromNowhere(message("z"))),
            (|h| h.without_receipt = 1, Violation::Orphans(1)),
            (|h| h.undecided.push("failed".into()), Violation::Undecided("failed".into())),
            (|h| drop(h.sends.pop()), Violation::Forgotten("email d".into())),
            (|h| h.taken.extend(["email e".to_owned()]), Violation::Forgotten("email e".into())),
            (|h| h.arrived.clear(), Violation::NeverArrived(copy("c"))),
            (|h| h.arrived.push(copy("c")), Violation::SentTwice(copy("c"), 2)),
            (|h| h.arrived.extend([copy("d"), copy("d")]), Violation::SentTwice(copy("d"), 2)),
            (|h| h.sends[1].alerts.clear(), Violation::DoubtUntold("email d".into())),
            (|h| h.arrived.push(copy("z")), Violation::SentByNobody(copy("z"))),
            (|h| h.connections[0].most = 3, Violation::TooManyConnections("POP3".into(), 3, 2)),
            (|h| h.off_schedule.push("x".into()), Violation::OffSchedule("x".into())),
            (|h| h.leases = 1, Violation::Leaked(1)),
            (|h| h.leaks.push("a log".into()), Violation::Told("a log".into())),
        ];
        assert_eq!(violations(&good()), []);
        for (plant, expected) in table {
            let mut history = good();
            plant(&mut history);
            assert_eq!(violations(&history), std::slice::from_ref(expected));
        }
    }

    #[test]
    fn a_send_ends_sent_or_in_a_doubt_that_is_told() {
        for (state, alerts, copies, fine) in [
            ("sent", &[][..], 1, true),
            ("sent", &["maybe_sent_twice"], 2, true),
            ("sent", &[], 2, false),
            ("unknown", &["send_unknown"], 0, true),
            ("unknown", &["send_unknown"], 1, true),
            ("unknown", &["send_unknown"], 2, false),
            ("unknown", &["send_unknown", "maybe_sent_twice"], 2, true),
            ("failed", &[], 0, false),
            ("pending_send", &[], 0, false),
            ("sending", &[], 0, false),
            ("failed", &[], 1, false),
        ] {
            let arrived = vec![copy("c"); copies];
            let history = History { sends: vec![send("c", state, alerts)], arrived, ..History::default() };
            assert_eq!(violations(&history).is_empty(), fine, "{state} {alerts:?} {copies}");
        }
    }
}

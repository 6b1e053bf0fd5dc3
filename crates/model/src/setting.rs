//! The one typed registry of an organization's settings: name, the reference system's name, default, range, meaning.

use serde_json::{Value, json};

use crate::cadence::Policy;

/// What a setting may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A whole number, both ends included.
    Number {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// One of these names.
    OneOf(&'static [&'static str]),
    /// On or off.
    Switch,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name here.
    pub name: &'static str,
    /// Its name in the reference system, where it has one.
    pub reference: Option<&'static str>,
    /// What it may hold.
    pub range: Range,
    preset: Preset,
    /// What it does.
    pub meaning: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Preset {
    Number(i64),
    Name(&'static str),
    Switch(bool),
}

/// Why a value was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// There is no such setting.
    #[error("there is no setting `{name}`; the settings are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The value does not fit.
    #[error("`{name}` cannot be {given}; give {wanted}")]
    OutOfRange {
        /// Which setting.
        name: &'static str,
        /// What was given.
        given: String,
        /// What is wanted.
        wanted: String,
    },
}

/// How the gap between cycles is chosen.
pub const CADENCE_POLICY: &str = "cadence_policy";
/// How long the answer to a request with an Idempotency-Key is kept.
pub const IDEMPOTENCY_HOURS: &str = "idempotency_hours";
/// The largest message that is read or sent.
pub const MAX_MESSAGE_MB: &str = "max_message_mb";
/// How long ahead an expiry is told of.
pub const EXPIRY_WARNING_DAYS: &str = "expiry_warning_days";
/// How long a send may wait.
pub const MAX_SEND_AGE_HOURS: &str = "max_send_age_hours";
/// Whether the server keeps a copy of what was sent.
pub const SAVE_SENT_ITEMS: &str = "save_sent_items";
/// How long an item that is gone from its server is remembered.
pub const GONE_ITEM_DAYS: &str = "gone_item_days";
/// How long the log of changes is kept.
pub const CHANGES_KEPT_DAYS: &str = "changes_kept_days";
/// How long a job that has ended is kept.
pub const JOBS_KEPT_DAYS: &str = "jobs_kept_days";
/// Whether servers are listened to.
pub const PUSH: &str = "push";
/// How long an alert that is closed is kept.
pub const ALERTS_KEPT_DAYS: &str = "alerts_kept_days";

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: CADENCE_POLICY,
        reference: None,
        range: Range::OneOf(&[Policy::PerWorkload.as_str(), Policy::Dynamic.as_str()]),
        preset: Preset::Name(Policy::PerWorkload.as_str()),
        meaning: "How the gap between two cycles of a mailbox is chosen: `per_workload` (incoming 5 minutes, outgoing \
                  when something is due) or `dynamic` (2, 5 or up to 12 minutes by how much there was).",
    },
    Setting {
        name: IDEMPOTENCY_HOURS,
        reference: None,
        range: Range::Number { least: 1, most: 720, unit: "hours" },
        preset: Preset::Number(24),
        meaning: "How long the answer to a request with an `Idempotency-Key` is kept, so that the same request with the \
                  same key is answered again and does nothing.",
    },
    Setting {
        name: MAX_MESSAGE_MB,
        reference: Some("MaxAttachmentSize"),
        range: Range::Number { least: 1, most: 150, unit: "MB" },
        preset: Preset::Number(25),
        meaning: "The largest message that is read from a server or sent, with its attachments.",
    },
    Setting {
        name: EXPIRY_WARNING_DAYS,
        reference: None,
        range: Range::Number { least: 1, most: 90, unit: "days" },
        preset: Preset::Number(30),
        meaning: "How long before a client secret, a consent or a certificate authority ends an alert says so; it says so \
                  again 7 days and 1 day ahead.",
    },
    Setting {
        name: MAX_SEND_AGE_HOURS,
        reference: None,
        range: Range::Number { least: 1, most: 720, unit: "hours" },
        preset: Preset::Number(24),
        meaning: "How long an email may wait to be sent, from its request or its not-before time. Past that it fails: \
                  it is never sent late.",
    },
    Setting {
        name: SAVE_SENT_ITEMS,
        reference: Some("SSSSaveOutgoingEmailToExchangeSentFolder"),
        range: Range::Switch,
        preset: Preset::Switch(true),
        meaning: "Whether what leaves through an Exchange server stays in the Sent Items of the mailbox. Off, its copy goes to a \
                  folder of Lockstep's own, and is removed as soon as the email is known to be sent.",
    },
    Setting {
        name: GONE_ITEM_DAYS,
        reference: None,
        range: Range::Number { least: 1, most: 3650, unit: "days" },
        preset: Preset::Number(90),
        meaning: "How long Lockstep remembers what it decided about a message that its server lists no longer. A message \
                  that comes back later than that is read again, and recognised by its content.",
    },
    Setting {
        name: CHANGES_KEPT_DAYS,
        reference: None,
        range: Range::Number { least: 1, most: 3650, unit: "days" },
        preset: Preset::Number(365),
        meaning: "How long the log of changes is kept: the history of records, the audit, and what a follower of the \
                  change feed can still get after having been away.",
    },
    Setting {
        name: JOBS_KEPT_DAYS,
        reference: None,
        range: Range::Number { least: 1, most: 3650, unit: "days" },
        preset: Preset::Number(30),
        meaning: "How long a job that has ended is kept with its steps and its result, and a schedule that was for once.",
    },
    Setting {
        name: ALERTS_KEPT_DAYS,
        reference: None,
        range: Range::Number { least: 1, most: 3650, unit: "days" },
        preset: Preset::Number(180),
        meaning: "How long an alert is kept after its cause has passed or somebody has dismissed it.",
    },
    Setting {
        name: PUSH,
        reference: None,
        range: Range::Switch,
        preset: Preset::Switch(true),
        meaning: "Whether servers that tell when mail comes in (Exchange) are listened to. Off, their mailboxes are only asked \
                  again and again, as all others are.",
    },
];

impl Setting {
    /// The value when nobody set one.
    pub fn default(&self) -> Value {
        match self.preset {
            Preset::Number(number) => json!(number),
            Preset::Name(name) => json!(name),
            Preset::Switch(on) => json!(on),
        }
    }

    /// The range in words.
    pub fn wanted(&self) -> String {
        match self.range {
            Range::Number { least, most, unit } => format!("a whole number of {unit} from {least} to {most}"),
            Range::OneOf(names) => format!("one of: {}", names.join(", ")),
            Range::Switch => "true or false".to_owned(),
        }
    }

    /// Takes a value or says what is wrong with it.
    pub fn check(&self, value: &Value) -> Result<(), Refused> {
        let fits = match self.range {
            Range::Number { least, most, .. } => {
                value.as_i64().is_some_and(|number| (least..=most).contains(&number))
            }
            Range::OneOf(names) => value.as_str().is_some_and(|name| names.contains(&name)),
            Range::Switch => value.is_boolean(),
        };
        if fits {
            return Ok(());
        }
        Err(Refused::OutOfRange { name: self.name, given: value.to_string(), wanted: self.wanted() })
    }
}

/// The setting of this name.
pub fn find(name: &str) -> Result<&'static Setting, Refused> {
    SETTINGS.iter().find(|setting| setting.name == name).ok_or_else(|| Refused::Unknown {
        name: name.to_owned(),
        known: SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_fits_its_own_range() {
        for setting in SETTINGS {
            assert_eq!(setting.check(&setting.default()), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_what_is_wanted() {
        for (name, value) in [
            (MAX_MESSAGE_MB, json!(0)),
            (MAX_MESSAGE_MB, json!(151)),
            (MAX_MESSAGE_MB, json!(2.5)),
            (MAX_MESSAGE_MB, json!("25")),
            (CADENCE_POLICY, json!("weekly")),
            (CADENCE_POLICY, json!(null)),
            (SAVE_SENT_ITEMS, json!("no")),
            (SAVE_SENT_ITEMS, json!(0)),
        ] {
            let refused = find(name).unwrap().check(&value).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("give "), "{refused}");
        }
        assert!(find("nothing").unwrap_err().to_string().contains(CADENCE_POLICY));
    }
}

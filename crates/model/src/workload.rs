//! What a mailbox synchronizes, and the class of service it is counted in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the three streams of work a mailbox has, each with its own schedule, queue and switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Mail from the server into the records.
    Incoming,
    /// Mail from the records out to the server.
    Outgoing,
    /// Appointments, contacts and tasks together: the calendar queue.
    Act,
}

impl Workload {
    /// Every workload, in the order people read them.
    pub const ALL: [Self; 3] = [Self::Incoming, Self::Outgoing, Self::Act];

    /// The name used in the database, the API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Act => "act",
        }
    }

    /// The class whose share of connections and slots this workload uses.
    pub fn class(self) -> ServiceClass {
        match self {
            Self::Incoming => ServiceClass::Incoming,
            Self::Outgoing => ServiceClass::Outgoing,
            Self::Act => ServiceClass::Calendar,
        }
    }
}

/// A class of service: what shares of a server's connections and of the workers' slots are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceClass {
    /// Incoming mail.
    Incoming,
    /// Outgoing mail.
    Outgoing,
    /// Appointments, contacts and tasks.
    Calendar,
    /// The async job service.
    Jobs,
    /// Push connections that only listen.
    Watch,
}

impl ServiceClass {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Incoming, Self::Outgoing, Self::Calendar, Self::Jobs, Self::Watch];

    /// The name used in queues, the API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Calendar => "calendar",
            Self::Jobs => "jobs",
            Self::Watch => "watch",
        }
    }
}

/// A name that is none of those known here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is not a {what}; use one of: {known}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What it should have been, as a noun.
    pub what: &'static str,
    /// The names that are known, separated by commas.
    pub known: String,
}

/// Finds a value of a closed set by its name.
pub(crate) fn by_name<T: Copy>(
    text: &str,
    what: &'static str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| UnknownName {
        given: text.to_owned(),
        what,
        known: all.iter().map(|value| name(*value)).collect::<Vec<_>>().join(", "),
    })
}

macro_rules! named {
    ($($type:ty, $what:literal;)*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                by_name(text, $what, &Self::ALL, Self::as_str)
            }
        }
    )*};
}

named! {
    Workload, "workload";
    ServiceClass, "service class";
}

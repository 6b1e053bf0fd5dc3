//! What a mailbox synchronizes, and the class of service it is counted in.

use crate::names::names;

names! {
    /// One of the three streams of work a mailbox has, each with its own schedule, queue and switch.
    "workload" Workload {
        /// Mail from the server into the records.
        Incoming = "incoming",
        /// Mail from the records out to the server.
        Outgoing = "outgoing",
        /// Appointments, contacts and tasks together: the calendar queue.
        Act = "act",
    }

    /// What shares of a server's connections and of the workers' slots are counted by.
    "service class" ServiceClass {
        /// Incoming mail.
        Incoming = "incoming",
        /// Outgoing mail.
        Outgoing = "outgoing",
        /// Appointments, contacts and tasks.
        Calendar = "calendar",
        /// The async job service.
        Jobs = "jobs",
        /// Push connections that only listen.
        Watch = "watch",
    }
}

impl Workload {
    /// The class whose share of connections and slots this workload uses.
    pub const fn class(self) -> ServiceClass {
        match self {
            Self::Incoming => ServiceClass::Incoming,
            Self::Outgoing => ServiceClass::Outgoing,
            Self::Act => ServiceClass::Calendar,
        }
    }
}

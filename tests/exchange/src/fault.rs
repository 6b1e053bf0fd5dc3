//! The fault switch: what goes wrong, for which requests, and how often.

use std::fmt::Write as _;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The answer comes after a while.
    Slow(Duration),
    /// The connection ends before anything is done.
    DropBefore,
    /// The request is done, and the connection ends in the middle of its answer.
    DropMidway,
    /// The request is done, and the connection ends without a byte of an answer.
    DropAfter,
    /// An HTTP status without SOAP, such as 503 or 429, with `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// `ErrorServerBusy` as a SOAP fault with HTTP status 500, with `BackOffMilliseconds`.
    Busy(Option<Duration>),
    /// `ErrorServerBusy` in each response message, with HTTP status 200 and `BackOffMilliseconds`.
    BusyMessage(Option<Duration>),
    /// A SOAP fault with this response code, such as `ErrorExceededConnectionCount`.
    Refused(String),
    /// Each response message has this response code.
    RefusedMessage(String),
    /// 401 whatever the credentials are.
    Unauthorized,
    /// A sync state is no longer known.
    SyncStateInvalid,
    /// Each change of a sync comes twice.
    DuplicatedChanges,
    /// The answer ends in the middle of an element, and HTTP calls it whole.
    Truncated,
    /// The answer is a document of nested entities that would grow to gigabytes.
    EntityBomb,
    /// The answer names a file of the reader's machine as an external entity.
    ExternalEntity,
    /// The answer is chunked and does not end.
    EndlessChunks,
    /// `Content-Length` says this many bytes, and fewer come.
    FalseLength(u64),
    /// The answer is a web page, as of a proxy.
    WebPage,
}

/// Which requests a fault meets.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) operation: Option<String>,
    pub(crate) mailbox: Option<String>,
    pub(crate) skip: u64,
    pub(crate) times: Option<u64>,
    pub(crate) fault: Fault,
}

impl Rule {
    /// Meets every request, until it is narrowed.
    pub fn new(fault: Fault) -> Self {
        Self { operation: None, mailbox: None, skip: 0, times: None, fault }
    }

    /// Only this operation, such as `GetItem`.
    #[must_use]
    pub fn on(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// Only requests that act for this mailbox, or that its login made.
    #[must_use]
    pub fn of(mut self, mailbox: &str) -> Self {
        self.mailbox = Some(mailbox.to_lowercase());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends after so many matching requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Whether it meets a request; counts it.
    fn meets(&mut self, operation: &str, names: &[&str]) -> bool {
        if self.operation.as_deref().is_some_and(|only| !only.eq_ignore_ascii_case(operation)) {
            return false;
        }
        if self
            .mailbox
            .as_deref()
            .is_some_and(|only| !names.iter().any(|name| name.eq_ignore_ascii_case(only)))
        {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// The faults that meet a request. Rules that have ended are forgotten.
pub(crate) fn met(rules: &mut Vec<Rule>, operation: &str, names: &[&str]) -> Vec<Fault> {
    let faults: Vec<Fault> = rules
        .iter_mut()
        .filter_map(|rule| rule.meets(operation, names).then(|| rule.fault.clone()))
        .collect();
    rules.retain(|rule| rule.times != Some(0));
    faults
}

/// Five levels of ten entities each.
pub(crate) fn entity_bomb() -> String {
    let mut bomb = String::from("<?xml version=\"1.0\"?><!DOCTYPE s [<!ENTITY a0 \"lockstep\">");
    for level in 1..10 {
        let inner = format!("&a{};", level - 1).repeat(10);
        let _ = write!(bomb, "<!ENTITY a{level} \"{inner}\">");
    }
    bomb.push_str("]><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>&a9;</s:Body></s:Envelope>");
    bomb
}

/// What a reader that resolves entities would read of its own machine.
pub(crate) const EXTERNAL_ENTITY: &str = "<?xml version=\"1.0\"?><!DOCTYPE s [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>\
     <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>&f;</s:Body></s:Envelope>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_meets_the_requests_it_names_and_no_others() {
        let mut rules =
            vec![Rule::new(Fault::DropBefore).on("GetItem").of("Anna@example.org").after(1).times(2)];
        let mut asked = |operation: &str, name: &str| !met(&mut rules, operation, &[name]).is_empty();
        assert!(!asked("FindItem", "anna@example.org"));
        assert!(!asked("GetItem", "bert@example.org"));
        assert!(!asked("GetItem", "anna@example.org"), "the first one passes");
        assert!(asked("GetItem", "anna@example.org"));
        assert!(asked("GetItem", "anna@example.org"));
        assert!(!asked("GetItem", "anna@example.org"), "it has ended");
    }
}

//! What a mail server or a reader's program reports about an email that was sent: a pure reading of a message, standard
//! (RFC 3464, RFC 8098) or not. It never decides whose email is meant, and nothing in it is believed beyond that email.

mod doubt;
mod effect;
mod fields;
mod receipt;
mod returned;
mod standard;
mod words;

use jiff::Timestamp;

use crate::address::normalize;
use crate::message::ParsedMessage;
use crate::names::names;

pub use doubt::ends_doubt;
pub use effect::{Effect, effect};

/// The longest words of a server that are kept, in bytes.
const SAID_BYTES: usize = 500;
/// The longest address that anybody is known by, in bytes.
const ADDRESS_BYTES: usize = 320;
/// How many recipients of one report are read.
const RECIPIENTS: usize = 1_000;
/// How many Message-IDs a report may offer as the one it speaks of.
const MESSAGE_IDS: usize = 20;

names! {
    /// What kind of report a message is.
    "report kind" ReportKind {
        /// A mail server tells what became of an email (RFC 3464 and its forerunners).
        DeliveryReport = "delivery_report",
        /// A reader's program tells that an email was read or put away (RFC 8098).
        ReadReceipt = "read_receipt",
    }

    /// What a report says was done for a recipient (RFC 3464 section 2.3.3, RFC 8098 section 3.2.6).
    "reported action" ReportedAction {
        /// It could not be delivered and nobody tries any longer.
        Failed = "failed",
        /// It could not be delivered yet and is still tried.
        Delayed = "delayed",
        /// It lies in the recipient's mailbox.
        Delivered = "delivered",
        /// It went on to a server that reports nothing.
        Relayed = "relayed",
        /// It went on to several addresses.
        Expanded = "expanded",
        /// It was shown to somebody.
        Read = "read",
        /// It was deleted without having been shown.
        Deleted = "deleted",
        /// A program did something else with it.
        Processed = "processed",
    }
}

/// What a message reports. Every text is bounded and printable; all of it was written by a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A delivery report or a read receipt.
    pub kind: ReportKind,
    /// Message-IDs that may be that of the email it speaks of, without angle brackets, the likeliest first.
    pub message_ids: Vec<String>,
    /// The envelope id that the email was given (RFC 3461 section 4.4).
    pub envelope_id: Option<String>,
    /// What Date of the returned header says.
    pub returned_date: Option<Timestamp>,
    /// Which server or program reports, by its name.
    pub reporter: Option<String>,
    /// What it says, recipient by recipient.
    pub recipients: Vec<ReportedRecipient>,
}

/// What is said about one recipient.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportedRecipient {
    /// The address in its normal form; empty when the report names nobody.
    pub address: String,
    /// The address that it was sent to, where the report knows it to be another one; in its normal form.
    pub original: Option<String>,
    /// What was done.
    pub action: ReportedAction,
    /// The status code, such as `5.1.1` (RFC 3463).
    pub status: Option<String>,
    /// The server's own words.
    pub said: Option<String>,
}

impl std::fmt::Debug for ReportedRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportedRecipient")
            .field("address", &crate::address::redacted(&self.address))
            .field("action", &self.action)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What a message reports, if it is a report at all. A person's answer to a bounce, a forwarded report and an
/// out-of-office reply are none.
pub fn report(message: &ParsedMessage) -> Option<Report> {
    receipt::read(message).or_else(|| standard::read(message)).or_else(|| words::read(message))
}

/// Whether a program sent it: as a daemon does, or by what it says of itself.
fn by_a_program(message: &ParsedMessage) -> bool {
    by_a_daemon(message) || message.auto_submitted.as_deref().is_some_and(|said| said.starts_with("auto-"))
}

/// Whether a mail server's program sent it: the null return path (RFC 5321 section 4.5.5), or a daemon's name.
fn by_a_daemon(message: &ParsedMessage) -> bool {
    const DAEMONS: &[&str] =
        &["mailer-daemon", "mailerdaemon", "mail-daemon", "maildaemon", "mdaemon", "postmaster"];
    let daemon = |address: &str| {
        let local = address.split('@').next().unwrap_or_default().to_lowercase();
        DAEMONS.contains(&local.as_str()) || local.starts_with("microsoftexchange")
    };
    message.return_path.as_deref() == Some("")
        || message.return_path.as_deref().is_some_and(daemon)
        || message.from.iter().any(|party| daemon(&party.address))
}

/// Words of a server in one line, printable and bounded.
fn one_line(text: &str) -> Option<String> {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|character| !character.is_control()));
        if line.len() > SAID_BYTES {
            break;
        }
    }
    line.truncate(line.floor_char_boundary(SAID_BYTES));
    (!line.is_empty()).then_some(line)
}

/// The address in a field such as `rfc822; Ada@example.com`, in its normal form; the type may be missing, and some put
/// angle brackets around it.
fn typed_address(value: &str) -> Option<String> {
    let address = match value.split_once(';') {
        Some((kind, address)) if !kind.contains('@') => address,
        _ => value,
    };
    let address = normalize(address.trim().trim_matches(['<', '>', '"', '\'']).trim());
    let printable = !address.contains(|character: char| character.is_control() || character.is_whitespace());
    (printable && address.contains('@') && address.len() <= ADDRESS_BYTES).then_some(address)
}

/// The first status code of RFC 3463 in a text, such as `5.1.1`; an IPv4 address is none.
fn status_in(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    for (at, class) in bytes.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let starts = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'.');
        if !starts || !matches!(class, b'2' | b'4' | b'5') || bytes.get(at + 1) != Some(&b'.') {
            continue;
        }
        let number = |from: usize| {
            let digits = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            (1..=3).contains(&digits).then_some(from + digits)
        };
        let Some(subject) = number(at + 2).filter(|end| bytes.get(*end) == Some(&b'.')) else { continue };
        let Some(end) = number(subject + 1) else { continue };
        let goes_on = match bytes.get(end) {
            Some(b'.') => bytes.get(end + 1).is_some_and(u8::is_ascii_digit),
            Some(byte) => byte.is_ascii_alphanumeric(),
            None => false,
        };
        if !goes_on {
            return Some(text[at..end].to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests;
